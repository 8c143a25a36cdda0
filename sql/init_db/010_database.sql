-- utf8mb4 said outright: a bare MariaDB defaults to latin1. This collation is one that every server knows.
CREATE DATABASE IF NOT EXISTS {{GLOBAL_DB_NAME}} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
