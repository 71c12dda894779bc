"""nbgrader's extension points, filled so that a score depends on the answers alone.

`nbgrader_config.py` names them; nbgrader, run from the shell, from formgrader or by `yolotrt course`, calls them:

intake        regular files only, of sane size, with a time stamp that the student did not choose   collect, intake
rebuild       the released notebook, with nothing but the answers of the submission              rebuild_from_release
record        the student's code runs in a kernel and its results are written down               record_exercises
score         pytest judges the records in a process without student code                        score_exercises
save          one finite score per exercise, or "needs manual grading", never a stale one        save_grades
feedback      one page, all text escaped, nothing of hidden tests                                feedback_exporter
"""
