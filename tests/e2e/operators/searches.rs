//! Searches: complete and without repetition while the table changes, and by plans that read a bounded number of rows.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use resq::queue::{Filter, NewJob, Queue, search};
use resq_test_support::{Server, TestDatabase};

use crate::claims::plan::plan;

fn filter(parts: &[(&str, &str)]) -> Filter {
    let mut filter = Filter::default();
    parts.iter().for_each(|(key, value)| filter.set(key, value).unwrap());
    filter
}

/// All ids, page by page; `between` runs after each page.
fn all(queue: &mut Queue, filter: &Filter, limit: u32, mut between: impl FnMut(usize)) -> Vec<u64> {
    let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = queue.find(filter, after, limit).unwrap();
        assert!(page.items.len() <= limit as usize);
        ids.extend(page.items.iter().map(|row| row.id));
        pages += 1;
        between(pages);
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

/// Each filter with the same as a condition of SQL.
const FILTERS: &[(&[(&str, &str)], &str)] = &[
    (&[], "TRUE"),
    (&[("status", "error")], "status = 'error'"),
    (&[("status", "done")], "status = 'done'"),
    (&[("status", "in_progress")], "status = 'in_progress'"),
    (&[("status", "error"), ("type", "shop")], "status = 'error' AND res_type = 'shop'"),
    (&[("status", "done"), ("name", "b1234")], "status = 'done' AND res_name LIKE 'b1234%'"),
    (&[("type", "shop")], "res_type = 'shop'"),
    (&[("name", "b00")], "res_name LIKE 'b00%'"),
    (&[("name", "b_")], "FALSE"),
    (&[("name", "nothing")], "FALSE"),
    (&[("database", "res_one")], "res_id = 77"),
    (&[("database", "res_one"), ("status", "new")], "FALSE"),
    (&[("database", "res_two")], "FALSE"),
];

/// 100,000 finished rows, and in the order of their ids before, between and after them 2,220 others.
fn crowded(name: &str) -> TestDatabase {
    let database = TestDatabase::new(Server::shared(), name);
    database.drop_triggers();
    database.fill(3, ", status, res_type, run_at", ", 'error', IF(t0.d < 3, 'shop', 'default'), NOW(6)");
    database.fill(5, ", status, priority", ", 'done', t0.d - 5");
    database.fill(3, ", status, priority", ", 'error', t0.d");
    database.fill(2, ", status", ", IF(t0.d < 3, 'in_progress', 'new')");
    let mut conn = database.bare();
    conn.query_drop(
        "INSERT INTO res_database (db_name, res_id, res_type, template_version, claim_id) VALUES ('res_one', 77, '', '', 0)",
    )
    .unwrap();
    conn.query_drop("ANALYZE TABLE res_queue").unwrap();
    database
}

#[test]
fn pages_together_are_the_whole_list_newest_first() {
    let database = crowded("search_pages");
    let (mut queue, mut conn) = (Queue::on(&database.db), database.bare());
    for (parts, condition) in FILTERS {
        let sql = format!("SELECT res_id FROM res_queue WHERE {condition} ORDER BY res_id DESC");
        let expected: Vec<u64> = conn.query(sql).unwrap();
        assert!(all(&mut queue, &filter(parts), 389, |_| {}) == expected, "{parts:?}");
    }
}

#[test]
fn rows_that_stay_are_found_once_while_others_come_and_go() {
    let database = crowded("search_change");
    let (mut queue, mut conn) = (Queue::on(&database.db), database.bare());
    for (parts, condition) in FILTERS {
        let stays = format!("({condition}) AND res_id % 5 <> 0");
        let expected: Vec<u64> =
            conn.query(format!("SELECT res_id FROM res_queue WHERE {stays} ORDER BY res_id DESC")).unwrap();
        let mut found = all(&mut queue, &filter(parts), 211, |page| {
            if page % 16 != 1 {
                return;
            }
            conn.query_drop(format!(
                "INSERT INTO res_queue (res_name, status, res_type) VALUES ('b001', 'done', 'shop'), ('x', 'error', 'shop'); \
                 DELETE FROM res_queue WHERE res_id % 5 = 0 AND res_id % 7 = {} LIMIT 50",
                page % 7
            ))
            .unwrap();
        });
        let before = found.len();
        found.dedup();
        assert_eq!(found.len(), before, "{parts:?}: a row twice");
        let greatest = expected.first().copied().unwrap_or(0);
        found.retain(|id| id % 5 != 0 && *id <= greatest);
        assert!(found == expected, "{parts:?}");
    }
}

#[test]
fn no_part_of_a_search_scans_the_table() {
    let database = crowded("search_plan");
    let mut conn = database.bare();
    for (parts, _) in FILTERS.iter().filter(|(parts, _)| !parts.is_empty()) {
        let filter = filter(parts);
        for after in [None, Some(50_000)] {
            if let Some(status) = filter.status {
                for sql in [search::of_status(status), search::ids_of_status(status, &filter, after, 50)] {
                    let (kind, key, _) = plan(&mut conn, &sql);
                    assert_eq!(key, "res_queue_claim", "{sql}");
                    assert!(["ref", "range"].contains(&kind.as_str()), "{kind}: {sql}");
                }
            }
            for sql in [search::window(after), search::in_window(&filter, 40_000, after, 50)] {
                let (_, key, extra) = plan(&mut conn, &sql);
                assert_eq!(key, "PRIMARY", "{sql}");
                assert!(!extra.contains("filesort"), "{extra}: {sql}");
            }
        }
    }
}

#[test]
#[ignore = "takes a minute; its figures are in docs/performance.md"]
fn page_of_a_million_finished_rows_takes_less_than_50_ms() {
    let database = TestDatabase::new(Server::shared(), "search_million");
    database.drop_triggers();
    database.fill(4, ", status", ", 'error'");
    database.fill(6, ", status", ", 'done'");
    let mut queue = Queue::on(&database.db);
    for parts in FILTERS.iter().map(|(parts, _)| parts).filter(|parts| !parts.iter().any(|(key, _)| *key == "database"))
    {
        let filter = filter(parts);
        let (mut times, mut after) = (Vec::new(), None);
        for _ in 0..60 {
            let begun = Instant::now();
            let page = queue.find(&filter, after, 50).unwrap();
            times.push(begun.elapsed());
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        times.sort();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{parts:?}: {} pages, median {median:?}, slowest {slowest:?}", times.len());
        assert!(median < Duration::from_millis(50), "{parts:?}: {median:?}");
    }
    let begun = Instant::now();
    queue.enqueue(&NewJob { name: "a".into(), ..NewJob::default() }).unwrap();
    println!("one INSERT: {:?}", begun.elapsed());
}
