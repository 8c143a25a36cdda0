-- Registers the functions; udf/install.sh puts the library's real name in and runs it. Needs SELECT, INSERT and DELETE on
-- the database `mysql`. Registering again is how a new version takes over; the old library's thread stays until the
-- server's next start, idle.
DROP FUNCTION IF EXISTS resq_notify;
DROP FUNCTION IF EXISTS resq_ring;
DROP FUNCTION IF EXISTS resq_stats;
-- MySQL may leave the row of a function behind that was dropped under load, and then refuses the function for good (1026).
DELETE FROM mysql.func WHERE name IN ('resq_notify', 'resq_ring', 'resq_stats');
CREATE FUNCTION resq_notify RETURNS INTEGER SONAME 'libresq_udf.so';
CREATE FUNCTION resq_ring RETURNS INTEGER SONAME 'libresq_udf.so';
CREATE FUNCTION resq_stats RETURNS STRING SONAME 'libresq_udf.so';
-- MariaDB's open sessions remember that a function was missing; any new procedure makes them look again.
/*M! CREATE OR REPLACE PROCEDURE mysql.resq_look_again() DO 1 */;
/*M! DROP PROCEDURE mysql.resq_look_again */;
