"""Where code of students runs: without a network, without a view of the host, with limits, ended from outside.

`bubblewrap` makes the namespaces; `process.SandboxedProcess` starts, watches and ends one sandbox, and `zygote.Zygote`
does the same for programs whose imports are done already.
"""
