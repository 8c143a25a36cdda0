-- An application's account, for an administrator to run after `resqctl init`; one for each application, under a name of
-- its own:
--
--   sed 's/CHANGE-ME/another password/; s/resq_app/shop/' scripts/grants_app.sql | mysql -u root -p
--
-- It enqueues, sees what became of jobs, and publishes events. It can't change or delete a job, nor write to the event
-- log past `publish`: what it inserts is told by triggers that run as the daemon's account.
CREATE USER IF NOT EXISTS 'resq_app'@'%' IDENTIFIED BY 'CHANGE-ME';

-- The columns that are the producer's; all others have defaults.
GRANT SELECT, INSERT (res_name, res_type, res_url, priority, run_at, max_attempts) ON `resq`.`res_queue` TO 'resq_app'@'%';
GRANT EXECUTE ON PROCEDURE `resq`.`publish` TO 'resq_app'@'%';
