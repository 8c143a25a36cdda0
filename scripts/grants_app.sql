-- The account of an application. An administrator runs this after `resqctl init`, once per application, each time with
-- another name:
--
--   sed 's/CHANGE-ME/another password/; s/resq_app/shop/' scripts/grants_app.sql | mysql -u root -p
--
-- The account may enqueue jobs, read their outcomes and publish events. It cannot change or delete a job, nor write to the
-- event log except by `publish`: the triggers that announce its jobs run as the account of resqd.
CREATE USER IF NOT EXISTS 'resq_app'@'%' IDENTIFIED BY 'CHANGE-ME';

-- The columns that a producer sets; all others have defaults.
GRANT SELECT, INSERT (res_name, res_type, res_url, priority, run_at, max_attempts) ON `resq`.`res_queue` TO 'resq_app'@'%';
GRANT EXECUTE ON PROCEDURE `resq`.`publish` TO 'resq_app'@'%';
