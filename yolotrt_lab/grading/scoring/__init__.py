"""Judging what a student's kernel recorded, in a sandbox of its own that runs no code of the student's.

score     the verdicts on a submission, in one sandbox or in one that is kept warm        run, warm
service   inside the sandbox: one pytest session, a fork of it for each exercise          service, session, forked
keys      under which a verdict is kept: equal keys, equal verdicts                       keys
"""

from yolotrt_lab.grading.scoring.keys import records_digest, score_key
from yolotrt_lab.grading.scoring.run import score
from yolotrt_lab.grading.scoring.warm import JudgeError, JudgeService

__all__ = ["JudgeError", "JudgeService", "records_digest", "score", "score_key"]
