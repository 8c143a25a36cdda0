-- Registers the functions; udf/install.sh inserts the library's real name and runs this. Needs SELECT, INSERT and DELETE on
-- the database `mysql`, and the privilege to set sql_log_bin (SUPER, SYSTEM_VARIABLES_ADMIN or BINLOG ADMIN). Running it
-- again registers a new version; the thread of the old library stays, idle, until the server restarts.
-- For this server alone: replicated, CREATE FUNCTION fails on a server that does not have the library yet, which stops a
-- replica and expels a member from a MySQL group.
SET @resq_sql_log_bin = @@SESSION.sql_log_bin;
SET SESSION sql_log_bin = 0;
/*M! SET @resq_wsrep_on = @@SESSION.wsrep_on */;
/*M! SET SESSION wsrep_on = OFF */;
DROP FUNCTION IF EXISTS resq_notify;
DROP FUNCTION IF EXISTS resq_ring;
DROP FUNCTION IF EXISTS resq_stats;
-- MySQL may keep the row of a function that was dropped under load, and then refuses to create the function (1026).
DELETE FROM mysql.func WHERE name IN ('resq_notify', 'resq_ring', 'resq_stats');
CREATE FUNCTION resq_notify RETURNS INTEGER SONAME 'libresq_udf.so';
CREATE FUNCTION resq_ring RETURNS INTEGER SONAME 'libresq_udf.so';
CREATE FUNCTION resq_stats RETURNS STRING SONAME 'libresq_udf.so';
-- Open sessions of MariaDB remember that a function was missing, until a procedure is created.
/*M! CREATE OR REPLACE PROCEDURE mysql.resq_look_again() DO 1 */;
/*M! DROP PROCEDURE mysql.resq_look_again */;
/*M! SET SESSION wsrep_on = @resq_wsrep_on */;
SET SESSION sql_log_bin = @resq_sql_log_bin;
