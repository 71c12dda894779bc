"""Notice what is not a student's own work: changed tools, looks behind the curtain, copied text.

The student's code runs in the process that records its answers, and Python hides nothing from code of its own process:
whoever knows this package can switch all of this off from there, or forge the records themselves. So nothing that
earns points rests on it. The expected values are computed by the judge, in another process and from its own inputs;
graphs that a student made are built into engines again there; hidden cases have seeds that the kernel gets only for
its own run. What is here makes the usual tricks useless or evident, and gives an instructor something to look at.

What remains possible from inside the kernel: to learn the inputs of hidden cases (not their answers); to write records
oneself, with outputs that one has to compute correctly anyway; to forge those facts that only the kernel can see, such
as how often an answer asked the device for memory, and which layers the inspector showed for a plan.
"""
