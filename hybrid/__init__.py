"""One trial: what is trained and what is measured. Never imports ray or mlflow."""
