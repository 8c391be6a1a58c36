"""Where read models and account keys are kept: SQL tables by SQLAlchemy Core, on SQLite or PostgreSQL."""
