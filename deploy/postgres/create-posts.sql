-- Runs once, when the volume is new. The database of users is made by POSTGRES_DB.
CREATE DATABASE lenta_posts;
