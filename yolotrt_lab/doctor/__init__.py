"""The doctor: looks at a machine and says what of the course runs here, what is wrong, and what to type.

`gather_facts` asks the machine; `diagnose` is a pure function from these facts to findings, so every rule can be
tested with machines that are not there.
"""

from yolotrt_lab.doctor.diagnosis import Diagnosis, diagnose
from yolotrt_lab.doctor.facts import Facts, Gpu, Probe
from yolotrt_lab.doctor.findings import Finding, Status
from yolotrt_lab.doctor.probes import gather_facts

__all__ = ["Diagnosis", "Facts", "Finding", "Gpu", "Probe", "Status", "diagnose", "gather_facts"]
