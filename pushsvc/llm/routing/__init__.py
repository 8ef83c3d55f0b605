"""Several models' servers behind one service (LLM_UPSTREAMS): which is asked, which is left alone, and who waits."""
