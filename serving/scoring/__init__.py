"""Scoring a survey: which tiles are left, who answers, who shares the work, and what it will take."""
