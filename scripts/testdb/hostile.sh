# A server whose every default is as far from the usual one as it may be. Sourced by testdb.sh; sets $hostile, the options
# of its nodes, and writes the statements that they run when they start.
# shellcheck shell=bash disable=SC2034,SC2154

set_hostile() {
  hostile=(--character-set-server=latin1 --collation-server=latin1_bin
    --innodb-rollback-on-timeout=ON --init-file="$dir/hostile.sql")
  if is_mariadb; then
    hostile+=(--skip-character-set-client-handshake --query-cache-type=1 --query-cache-size=1M)
    { hostile_both; hostile_mariadb; } >"$dir/hostile.sql"
  else
    # Of the binary log, options: those of a test's own server come behind them, also when it starts again.
    hostile+=(--disabled-storage-engines=MyISAM,BLACKHOLE,FEDERATED,ARCHIVE,MEMORY --binlog-row-image=MINIMAL
      --binlog-row-value-options=PARTIAL_JSON --binlog-rows-query-log-events=ON)
    { hostile_both; hostile_mysql; } >"$dir/hostile.sql"
  fi
}

# One statement per line. init_connect presets what no global variable can; it does not run for administrators.
hostile_both() {
  cat <<'SQL'
SET GLOBAL init_connect = 'SET autocommit = 0, timestamp = 1000000000, insert_id = 7, @res_last = 7, NAMES binary';
SET GLOBAL init_connect = CONCAT(@@global.init_connect, '; SET TRANSACTION READ ONLY; START TRANSACTION');
SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_AUTO_VALUE_ON_ZERO';
SET GLOBAL sql_mode = CONCAT(@@global.sql_mode, ',PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION');
SET GLOBAL time_zone = '+13:00';
SET GLOBAL lc_time_names = 'ja_JP';
SET GLOBAL lc_messages = 'fr_FR';
SET GLOBAL sql_safe_updates = 1;
SET GLOBAL sql_select_limit = 0;
SET GLOBAL max_join_size = 1;
SET GLOBAL sql_big_selects = 0;
SET GLOBAL sql_auto_is_null = 1;
SET GLOBAL sql_quote_show_create = 0;
SET GLOBAL sql_buffer_result = 1;
SET GLOBAL sql_notes = 0;
SET GLOBAL sql_warnings = 1;
SET GLOBAL autocommit = 0;
SET GLOBAL completion_type = 'RELEASE';
SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY;
SET GLOBAL foreign_key_checks = 0;
SET GLOBAL unique_checks = 0;
SET GLOBAL default_storage_engine = 'MyISAM';
SET GLOBAL default_tmp_storage_engine = 'MEMORY';
SET GLOBAL group_concat_max_len = 4;
SET GLOBAL max_sort_length = 8;
SET GLOBAL sort_buffer_size = 1024;
SET GLOBAL join_buffer_size = 128;
SET GLOBAL read_buffer_size = 8192;
SET GLOBAL read_rnd_buffer_size = 1;
SET GLOBAL net_buffer_length = 1024;
SET GLOBAL max_heap_table_size = 16384;
SET GLOBAL tmp_table_size = 1024;
SET GLOBAL big_tables = 1;
SET GLOBAL max_error_count = 0;
SET GLOBAL div_precision_increment = 0;
SET GLOBAL default_week_format = 6;
SET GLOBAL max_length_for_sort_data = 4;
SET GLOBAL max_seeks_for_key = 1;
SET GLOBAL eq_range_index_dive_limit = 1;
SET GLOBAL optimizer_search_depth = 1;
SET GLOBAL optimizer_prune_level = 0;
SET GLOBAL innodb_lock_wait_timeout = 1;
SET GLOBAL lock_wait_timeout = 1;
SET GLOBAL wait_timeout = 1;
SET GLOBAL interactive_timeout = 1;
SET GLOBAL net_read_timeout = 1;
SET GLOBAL net_write_timeout = 1;
SET GLOBAL innodb_table_locks = 0;
SET GLOBAL innodb_strict_mode = 0;
SET GLOBAL low_priority_updates = 1;
SET GLOBAL updatable_views_with_limit = 'NO';
SET GLOBAL max_sp_recursion_depth = 0;
SET GLOBAL automatic_sp_privileges = 0;
SET GLOBAL session_track_schema = 1, GLOBAL session_track_state_change = 1, GLOBAL session_track_transaction_info = 'CHARACTERISTICS';
SET GLOBAL session_track_system_variables = '*';
SET GLOBAL slow_query_log = 0;
SQL
}

hostile_mariadb() {
  cat <<'SQL'
SET GLOBAL max_statement_time = 0.02;
SET GLOBAL idle_transaction_timeout = 1, GLOBAL idle_readonly_transaction_timeout = 1, GLOBAL idle_write_transaction_timeout = 1;
SET GLOBAL tmp_disk_table_size = 1024;
SET GLOBAL tmp_memory_table_size = 1024;
SET GLOBAL max_session_mem_used = 500000;
SET GLOBAL in_predicate_conversion_threshold = 2;
SET GLOBAL optimizer_max_sel_arg_weight = 1;
SET GLOBAL optimizer_use_condition_selectivity = 1;
SET GLOBAL optimizer_switch = 'index_condition_pushdown=off,derived_merge=off,derived_with_keys=off';
SET GLOBAL optimizer_switch = 'materialization=off,semijoin=off,extended_keys=off,mrr=on,rowid_filter=off';
SET GLOBAL optimizer_switch = 'condition_pushdown_for_derived=off,join_cache_bka=off,exists_to_in=off';
SET GLOBAL optimizer_switch = 'not_null_range_scan=on,table_elimination=off';
SET GLOBAL use_stat_tables = 'NEVER';
SET GLOBAL join_cache_level = 8;
SET GLOBAL max_recursive_iterations = 0;
SET GLOBAL alter_algorithm = 'INSTANT';
SET GLOBAL sql_if_exists = 1;
SET GLOBAL check_constraint_checks = 0;
SET GLOBAL old = 1;
SET GLOBAL old_mode = 'NO_DUP_KEY_WARNINGS_WITH_IGNORE,NO_PROGRESS_INFO,ZERO_DATE_TIME_CAST';
SET GLOBAL system_versioning_alter_history = 'KEEP';
SET GLOBAL standard_compliant_cte = 0;
SET GLOBAL default_regex_flags = 'EXTENDED,MULTILINE,UNGREEDY,DOTALL';
SET GLOBAL explicit_defaults_for_timestamp = 0;
SET GLOBAL wsrep_sync_wait = 15;
SET GLOBAL wsrep_osu_method = 'RSU';
SQL
}

hostile_mysql() {
  cat <<'SQL'
SET GLOBAL max_execution_time = 1;
SET GLOBAL range_optimizer_max_mem_size = 1;
SET GLOBAL optimizer_switch = 'index_condition_pushdown=off,derived_merge=off,materialization=off,semijoin=off';
SET GLOBAL optimizer_switch = 'use_index_extensions=off,prefer_ordering_index=off,mrr_cost_based=off';
SET GLOBAL optimizer_switch = 'batched_key_access=on,hash_join=off,skip_scan=off,condition_fanout_filter=off';
SET GLOBAL optimizer_switch = 'derived_condition_pushdown=off,use_invisible_indexes=on';
SET GLOBAL cte_max_recursion_depth = 0;
SET GLOBAL internal_tmp_mem_storage_engine = 'MEMORY';
SET GLOBAL old_alter_table = 1;
SET GLOBAL end_markers_in_json = 1;
SET GLOBAL explain_format = 'JSON';
SET GLOBAL explicit_defaults_for_timestamp = 0;
SET GLOBAL information_schema_stats_expiry = 0;
SET GLOBAL show_gipk_in_create_table_and_information_schema = 0;
SET GLOBAL show_create_table_verbosity = 1;
SET GLOBAL windowing_use_high_precision = 0;
SET GLOBAL session_track_gtids = 'ALL_GTIDS';
SET GLOBAL regexp_time_limit = 1;
SQL
}
