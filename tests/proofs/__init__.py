"""Programs that prove the tests, or what no test can: run by hand."""
