//! Every session variable that a server has and resq does not set, and why it need not. A newer server with one that is
//! missing here fails the test: decide what it means, and set it in `src/db/session.rs` or name it here.

/// Where a variable's value comes from, or why it does not matter, and the variables of which that is true.
#[rustfmt::skip]
pub const UNSET: &[(&str, &[&str])] = &[
    (
        "only a session has it; the login as the same account, with which every reset begins, gives it its first value",
        &[
            "gtid_next", "gtid_owned", "gtid_seq_no", "identity", "immediate_server_version", "in_transaction",
            "insert_id", "last_gtid", "last_insert_id", "original_commit_timestamp", "original_server_version",
            "pseudo_replica_mode", "pseudo_slave_mode", "pseudo_thread_id", "rand_seed1", "rand_seed2",
            "require_row_format", "resultset_metadata", "show_create_table_skip_secondary_engine",
            "skip_parallel_replication", "skip_replication", "sql_log_bin", "tcp_nodelay", "timestamp",
            "transaction_allow_batching", "use_secondary_engine", "wsrep_gtid_seq_no",
        ],
    ),
    (
        "no session can set it; start or `resqctl doctor` checks it",
        &["binlog_format", "enforce_storage_engine", "max_allowed_packet", "max_user_connections"],
    ),
    (
        "tells about the session, and takes no value",
        &["error_count", "external_user", "proxy_user", "statement_id", "warning_count"],
    ),
    (
        "every table and column of resq's names its own, and so do its procedures",
        &[
            "character_set_database", "character_set_server", "collation_database", "collation_server",
            "default_collation_for_utf8mb4", "explicit_defaults_for_timestamp",
            "external_table_secondary_storage_engine", "external_table_storage_engine", "innodb_compression_default",
            "innodb_default_encryption_key_id", "default_table_encryption", "restrict_fk_on_non_standard_key",
            "sql_generate_invisible_primary_key", "sql_require_primary_key", "storage_engine",
        ],
    ),
    ("refuses nothing that resq's tables have", &["innodb_strict_mode", "system_versioning_alter_history"]),
    (
        "concerns a feature that no statement of resq uses: system versions, full text, geometry, encryption, weeks, \
         divisions, recursion, stored views, files, a second engine, large objects in columns, histograms, DELAYED",
        &[
            "analyze_max_length", "analyze_sample_percentage", "block_encryption_mode", "character_set_filesystem",
            "column_compression_threshold", "column_compression_zlib_level", "column_compression_zlib_strategy",
            "column_compression_zlib_wrap", "cte_max_recursion_depth", "default_master_connection",
            "default_regex_flags", "default_week_format", "div_precision_increment", "enable_cascade_triggers",
            "enable_secondary_engine_statistics", "end_markers_in_json", "explain_format",
            "explain_json_format_version", "generated_random_password_length", "histogram_generation_max_mem_size",
            "histogram_size", "histogram_type", "information_schema_stats_expiry", "innodb_ft_enable_stopword",
            "innodb_ft_user_stopword_table", "lc_time_names", "max_delayed_threads", "max_insert_delayed_threads",
            "max_points_in_geometry", "max_recursive_iterations", "max_sp_recursion_depth", "old_mode",
            "old_passwords", "print_identified_with_as_hex", "secondary_engine_cost_threshold",
            "select_into_buffer_size", "select_into_disk_sync", "select_into_disk_sync_delay",
            "show_create_table_verbosity", "show_gipk_in_create_table_and_information_schema",
            "standard_compliant_cte", "system_versioning_asof", "system_versioning_insert_history",
            "updatable_views_with_limit", "windowing_use_high_precision", "xa_detach_on_prepare",
        ],
    ),
    (
        "for other storage engines than InnoDB",
        &[
            "aria_repair_threads", "aria_sort_buffer_size", "aria_stats_method", "bulk_insert_buffer_size",
            "deadlock_search_depth_long", "deadlock_search_depth_short", "deadlock_timeout_long",
            "deadlock_timeout_short", "keep_files_on_create", "low_priority_updates", "myisam_repair_threads",
            "myisam_sort_buffer_size", "myisam_stats_method", "preload_buffer_size",
        ],
    ),
    (
        "how large a buffer is, or how many threads help: speed alone, with the least legal value too",
        &[
            "connection_memory_chunk_size", "innodb_ddl_buffer_size", "innodb_ddl_threads",
            "innodb_parallel_read_threads", "innodb_tmpdir", "internal_tmp_mem_storage_engine", "join_buffer_size",
            "join_buffer_space_limit", "max_length_for_sort_data", "max_rowid_filter_size",
            "max_tmp_tables", "mrr_buffer_size", "net_buffer_length", 
            "query_alloc_block_size", "query_prealloc_size", "range_alloc_block_size", "read_buffer_size",
            "read_rnd_buffer_size", "rowid_merge_buff_size", "set_operations_buffer_size", "thread_pool_priority",
            "tmp_memory_table_size", "transaction_alloc_block_size", "transaction_prealloc_size",
        ],
    ),
    (
        "what a plan is thought to cost: statements that lock rows name their index, and joins their order",
        &[
            "eq_range_index_dive_limit", "expensive_subquery_limit", "max_join_size", "max_seeks_for_key", "old",
            "optimizer_adjust_secondary_key_costs", "optimizer_extra_pruning_depth",
            "optimizer_join_limit_pref_ratio", "optimizer_max_sel_args", "optimizer_max_subgraph_pairs",
            "optimizer_selectivity_sampling_limit", "optimizer_use_condition_selectivity", "use_stat_tables",
        ],
    ),
    (
        "what the server notes for an administrator: logs, traces, profiles",
        &[
            "log_disabled_statements", "log_queries_not_using_indexes", "log_slow_admin_statements",
            "log_slow_disabled_statements", "log_slow_filter", "log_slow_max_warnings",
            "log_slow_min_examined_row_limit", "log_slow_query", "log_slow_query_time", "log_slow_rate_limit",
            "log_slow_slave_statements", "log_slow_verbosity", "log_warnings", "long_query_time",
            "min_examined_row_limit", "note_verbosity", "optimizer_trace", "optimizer_trace_features",
            "optimizer_trace_limit", "optimizer_trace_max_mem_size", "optimizer_trace_offset", "profiling",
            "profiling_history_size", "progress_report_time", "slow_query_log", "sql_log_off",
            "terminology_use_previous",
        ],
    ),
    (
        "what the binary log and the other nodes get: no statement reads it",
        &[
            "binlog_alter_two_phase", "binlog_annotate_row_events", "binlog_direct_non_transactional_updates",
            "binlog_row_image", "binlog_row_value_options", "binlog_rows_query_log_events",
            "binlog_transaction_compression", "binlog_transaction_compression_level_zstd", "gtid_domain_id",
            "max_relay_log_size", "rbr_exec_mode", "server_id", "sql_slave_skip_counter", "wsrep_on",
            "wsrep_retry_autocommit", "wsrep_trx_fragment_size", "wsrep_trx_fragment_unit",
        ],
    ),
    (
        "a cluster sets them itself, so that its nodes never give the same number: ids only have to rise",
        &["auto_increment_increment", "auto_increment_offset"],
    ),
    ("waits longer than it has to, where anything is to wait for", &["group_replication_consistency"]),
    ("another name of wsrep_sync_wait", &["wsrep_causal_reads"]),
    ("warnings, which resq does not read; handlers work without", &["max_error_count", "sql_notes", "sql_warnings"]),
    ("the query cache is off", &["query_cache_strip_comments", "query_cache_wlock_invalidate"]),
    ("names of databases, in answers that resq does not read", &["session_track_schema"]),
    (
        "for interactive clients and for asynchronous reads of the client library",
        &["interactive_timeout", "net_retry_count"],
    ),
    (
        "READ COMMITTED takes a new snapshot for each statement; a lost race is run again in any case",
        &["innodb_snapshot_isolation"],
    ),
    ("LOCK TABLES is used with autocommit only", &["innodb_table_locks"]),
    (
        "a limit on memory that only an administrator can lift; what exceeds it fails, and is reported so",
        &["connection_memory_limit", "global_connection_memory_tracking", "parser_max_mem_size"],
    ),
];
