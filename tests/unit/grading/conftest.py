# The sample suite is judged by the tests beside it, not collected.
collect_ignore = ["sample_suite"]
