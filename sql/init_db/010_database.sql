-- utf8mb4 is named because a bare MariaDB defaults to latin1; every server knows this collation.
CREATE DATABASE IF NOT EXISTS {{GLOBAL_DB_NAME}} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
