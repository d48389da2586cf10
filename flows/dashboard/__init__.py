"""The operator's page: one process on 127.0.0.1 that reads grid, journals and logs, and shows them live."""
