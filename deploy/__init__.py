"""What runs Lenta elsewhere: how much of what it takes (capacity), Kubernetes, PostgreSQL's first start in compose."""
