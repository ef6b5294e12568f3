"""Milepost's pipeline: governs raw logistics events on Kafka into one approved story."""

from pipeline import native as native
