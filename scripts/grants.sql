-- The account of resqd and resqctl, for an administrator to run before `resqctl init`, and again after changing it:
--
--   sed 's/CHANGE-ME/a password/' scripts/grants.sql | mysql -u root -p
--
-- It is written for the database `resq` (database.global_db) and the prefix `res_` (queue.db_prefix): with other names
-- put those in their place, each _ in them as \_ (alone it stands for any character). 'resq'@'%' may log in from
-- anywhere: better, put resqd's own host for the %. Nothing here is global: no SUPER, no PROCESS.
CREATE USER IF NOT EXISTS 'resq'@'%' IDENTIFIED BY 'CHANGE-ME';

-- What resqd and resqctl do all day: the queue's and the event log's tables; EXECUTE for the procedure that numbers.
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON `resq`.* TO 'resq'@'%';
-- That procedure runs as its definer, this account, and keeps a page of ids in a temporary table.
GRANT CREATE TEMPORARY TABLES ON `resq`.* TO 'resq'@'%';
-- What `resqctl init` makes and upgrades. No DROP: it drops no table and no database.
GRANT CREATE, ALTER, INDEX, CREATE ROUTINE, ALTER ROUTINE, TRIGGER, LOCK TABLES ON `resq`.* TO 'resq'@'%';

-- A resource's database is made, and dropped again where an attempt failed or by `resqctl drop` and `clear`.
GRANT CREATE, DROP ON `res\_%`.* TO 'resq'@'%';
-- What templates do in it. Those that come with resq need INSERT and REFERENCES; leave out what yours do not need.
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE,
  EXECUTE, TRIGGER, EVENT, LOCK TABLES, CREATE TEMPORARY TABLES ON `res\_%`.* TO 'resq'@'%';

-- With several database.hosts that are a MySQL group: which of its nodes are online. (MariaDB skips this comment.)
/*!80000 GRANT SELECT ON performance_schema.replication_group_members TO 'resq'@'%' */;

-- With the binary log on, as it is on MySQL unless switched off, a trigger may be created by administrators alone
-- (error 1419), and `init` and templates with triggers or functions create some. Either let everybody do it who has
-- the privilege TRIGGER (on MariaDB GLOBAL for PERSIST, and the same in its settings file):
--
--   SET PERSIST log_bin_trust_function_creators = 1;
--
-- or run `resqctl init` as an administrator, now and at every upgrade, and use no such templates.
