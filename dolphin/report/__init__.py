"""Report: figures, tables and charts of one finished run. Shows champion and honest ledger side by side, always."""
