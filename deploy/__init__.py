"""What runs Lenta elsewhere: how much of what it takes (capacity), Kubernetes, and PostgreSQL's first start in compose."""
