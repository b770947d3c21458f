"""Any wheel -> AuditReport: facts and findings."""
