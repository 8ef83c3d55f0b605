"""`python -m pushsvc doctor`: looks at a deployment from outside, through its proxies, and at its Redis and machine."""
