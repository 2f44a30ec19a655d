"""Limits: who may go now, and who waits; parts that take numbers and time, and do no I/O."""

from denoagents.limits.admission import Admission, AdmissionStatistics, Ticket
from denoagents.limits.settings import AdmissionSettings

__all__ = ["Admission", "AdmissionSettings", "AdmissionStatistics", "Ticket"]
