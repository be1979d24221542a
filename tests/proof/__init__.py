"""Jobs under faults: numbered records, kills at random moments, and a ledger of what became of each."""
