-- The account of resqd and resqctl. An administrator runs this before `resqctl init`, and again after changing it:
--
--   sed 's/CHANGE-ME/a password/' scripts/grants.sql | mysql -u root -p
--
-- It is written for the database `resq` (database.global_db) and the prefix `res_` (queue.db_prefix). If yours differ,
-- replace them, and write each _ as \_ (a bare _ matches any character). 'resq'@'%' may log in from any host; replace the
-- % by the host of resqd if you can. No privilege here is global: no SUPER, no PROCESS. (The optional ones for the binary log, below, are.)
CREATE USER IF NOT EXISTS 'resq'@'%' IDENTIFIED BY 'CHANGE-ME';

-- Daily work on the tables of the queue and the event log; EXECUTE is for the procedure that numbers events.
GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON `resq`.* TO 'resq'@'%';
-- That procedure runs as this account, its definer, and keeps a page of ids in a temporary table.
GRANT CREATE TEMPORARY TABLES ON `resq`.* TO 'resq'@'%';
-- What `resqctl init` creates and upgrades. Without DROP, since it drops no table and no database.
GRANT CREATE, ALTER, INDEX, CREATE ROUTINE, ALTER ROUTINE, TRIGGER, LOCK TABLES ON `resq`.* TO 'resq'@'%';

-- Resource databases are created, and dropped after a failed attempt and by `resqctl drop` and `resqctl clear`.
GRANT CREATE, DROP ON `res\_%`.* TO 'resq'@'%';
-- What templates do in them. The built-in ones need INSERT and REFERENCES; remove what yours do not need.
GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE,
  EXECUTE, TRIGGER, EVENT, LOCK TABLES, CREATE TEMPORARY TABLES ON `res\_%`.* TO 'resq'@'%';

-- If database.hosts lists the nodes of a MySQL group: shows which of them are online. (MariaDB skips this comment.)
/*!80000 GRANT SELECT ON performance_schema.replication_group_members TO 'resq'@'%' */;

-- Optional: with these, resqd reads the server's binary log, and notices commits at once without loadable functions
-- (events.binlog). SLAVE allows to read the log: that is, every change of every table of the server. CLIENT (on MariaDB also
-- called BINLOG MONITOR) tells where it ends, which without GTIDs cannot be found out otherwise. Both are global, since the
-- log is one for all databases.
--
--   GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'resq'@'%';

-- With the binary log on (MySQL's default, and always on Galera), only administrators may create triggers (error 1419),
-- and `init` creates some, as do templates with triggers or functions. Either allow it to every account with the
-- privilege TRIGGER (on MariaDB with GLOBAL instead of PERSIST, and in its settings file; in a cluster on every node):
--
--   SET PERSIST log_bin_trust_function_creators = 1;
--
-- or run `resqctl init` as an administrator, now and at every upgrade, and use templates without triggers and functions.
