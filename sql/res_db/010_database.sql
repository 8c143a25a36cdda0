-- One database for each resource. Without IF NOT EXISTS: a database that is there already is somebody else's.
CREATE DATABASE {{RES_DB_NAME}} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
