"""What an instructor does with a lab, as functions: release, collect, grade, feedback, export, status.

Each drives nbgrader in this process with the course's `nbgrader_config.py`, so that the shell, formgrader and
`yolotrt course` come to the same gradebook.
"""

from yolotrt_lab.grading.course.collect import Collected, collect_lab
from yolotrt_lab.grading.course.export import export_grades
from yolotrt_lab.grading.course.feedback import Feedback, make_feedback
from yolotrt_lab.grading.course.grade import ClassGrades, GradeOptions, StudentGrade, grade_lab
from yolotrt_lab.grading.course.release import Released, release_lab
from yolotrt_lab.grading.course.session import Course, CourseError, open_course
from yolotrt_lab.grading.course.status import LabStatus, course_status

__all__ = [
    "ClassGrades",
    "Collected",
    "Course",
    "CourseError",
    "Feedback",
    "GradeOptions",
    "LabStatus",
    "Released",
    "StudentGrade",
    "collect_lab",
    "course_status",
    "export_grades",
    "grade_lab",
    "make_feedback",
    "open_course",
    "release_lab",
]
