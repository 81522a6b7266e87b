"""Agreement of answers with volunteers: estimates with intervals, tables and plots."""
