-- One database per resource. Without IF NOT EXISTS, since an existing database was not made by resq.
CREATE DATABASE {{RES_DB_NAME}} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
