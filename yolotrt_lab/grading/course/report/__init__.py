"""The class report: how a lab went, for instructors only."""

from yolotrt_lab.grading.course.report.class_report import ClassReport, report_lab, summarize, write_class_report

__all__ = ["ClassReport", "report_lab", "summarize", "write_class_report"]
