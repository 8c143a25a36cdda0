use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::DOCUMENT;
use crate::{
    api::call::{Request, check},
    base::history::History,
    events::{chosen_rows, consumers::admin::Consumer},
    queue::{
        SetAside, Waiting,
        audit::{Batch, Entry},
        overview::{Daemon, Overview},
    },
    resources::{
        drift::{Drift, Verdict},
        migrate::{
            progress::{Noted, Progress},
            rules::State,
        },
        registry_page::Database,
    },
};

fn document() -> Json {
    serde_json::from_str(DOCUMENT).unwrap()
}

fn names(object: &Json) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// Each answer that the code makes has exactly the fields that the document says.
#[test]
fn document_has_every_field_of_every_answer() {
    let document = document();
    let row = crate::queue::Row {
        id: 1,
        name: String::new(),
        res_type: String::new(),
        status: None,
        url: None,
        priority: 0,
        run_at: None,
        attempts: 0,
        max_attempts: None,
        last_error: None,
        result: None,
        owner: None,
        created_at: None,
        updated_at: None,
    };
    let set_aside = SetAside {
        id: 1,
        name: String::new(),
        change: String::new(),
        message: String::new(),
        since: String::new(),
        retry_s: 0,
        owner: String::new(),
    };
    let entry = Entry {
        id: 1,
        at: String::new(),
        who: String::new(),
        action: String::new(),
        target: String::new(),
        reason: None,
        count: 0,
        batch: Some(Batch::default()),
    };
    let database = Database {
        db_name: String::new(),
        res_id: 1,
        res_name: None,
        res_type: String::new(),
        state: String::new(),
        template_version: String::new(),
        version: 0,
        created_at: String::new(),
        dropping_at: None,
        drop_at: None,
        drop_error: Some("x".into()),
        drift: Some(Drift { at: String::new(), verdict: Verdict::Differs, found: Vec::new() }),
    };
    let event = chosen_rows::SetAside {
        what: String::new(),
        id: 1,
        state: String::new(),
        message: String::new(),
        since: String::new(),
        retry_s: 0,
    };
    let waiting = Waiting { id: 1, name: String::new(), reason: String::new(), retry_s: 0 };
    let consumer = Consumer {
        name: String::new(),
        position: 0,
        lag: 0,
        states: String::new(),
        client: None,
        taken_at: String::new(),
        updated_at: String::new(),
    };
    let daemon = Daemon { owner: String::new(), started_at: String::new(), lease_s: 0.0, jobs: 0 };
    let rollout = Progress {
        id: 1,
        state: State::Running,
        wave: 0,
        last_wave: 0,
        max_failures: 0,
        started_at: String::new(),
        ended_at: None,
        waiting: 0,
        running: 0,
        migrated: 0,
        failed: 0,
        skipped: 0,
    };
    let noted = Noted { db_name: String::new(), res_id: 1, state: String::new(), message: None };
    let overview =
        Overview { counts: Default::default(), delayed: Default::default(), oldest_waiting_s: None, is_paused: false };
    let (action, database) = (entry.to_json(), database.to_json());
    for (schema, answer) in [
        ("Job", row.to_json()),
        ("SetAside", set_aside.to_json()),
        ("Action", action.clone()),
        ("Batch", action["batch"].clone()),
        ("Database", database.clone()),
        ("Drift", database["drift"].clone()),
        ("EventSetAside", event.to_json()),
        ("Waiting", waiting.to_json()),
        ("Series", History::new(0).to_json(60_000)),
        ("Consumer", consumer.to_json()),
        ("Rollout", rollout.to_json()),
        ("NotedDatabase", noted.to_json()),
        ("Daemon", daemon.to_json()),
        ("Counts", overview.counts_json()),
    ] {
        let described = &document["components"]["schemas"][schema];
        assert_eq!(names(&answer), names(&described["properties"]), "{schema}");
        let required: BTreeSet<String> = serde_json::from_value(described["required"].clone()).unwrap();
        assert_eq!(required, names(&answer), "{schema}");
    }
}

/// The paths that the broker answers without the database.
const OF_THE_BROKER: [&str; 3] = ["/series", "/stream", "/subscribers"];

/// The paths that `check` knows are the patterns of its matches: `["jobs", id] if … =>`.
#[test]
fn every_path_is_described() {
    let document = document();
    let matched = include_str!("../call.rs").lines().filter_map(|line| {
        let (pattern, rest) = line.trim().strip_prefix("[\"")?.split_once(']')?;
        let is_arm = rest.contains("=>") || rest.trim_start().starts_with("if ");
        is_arm.then(|| pattern.split(", ").map(|part| part.trim_matches('"').to_string()).collect::<Vec<_>>())
    });
    let known: BTreeSet<String> = matched
        .map(|parts| {
            let variable = |part: &String| if part == "_" { "{id}".into() } else { part.clone() };
            let is_name = |part: &str| part == "id" || part == "n";
            let parts = parts.iter().map(|part| if is_name(part) { format!("{{{part}}}") } else { variable(part) });
            format!("/{}", parts.collect::<Vec<_>>().join("/"))
        })
        .chain(OF_THE_BROKER.map(String::from))
        .collect();
    let of_the_broker = crate::net::api_paths().map(String::from).collect::<BTreeSet<_>>();
    assert_eq!(of_the_broker, OF_THE_BROKER.map(String::from).into(), "what the broker answers by itself");
    assert_eq!(known, names(&document["paths"]), "the paths that exist, and those that are described");
}

#[test]
fn document_names_no_path_or_parameter_that_is_not_there() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths.iter().filter(|(path, _)| !OF_THE_BROKER.contains(&path.as_str())) {
        for (method, described) in methods.as_object().unwrap() {
            let acts = method == "post";
            let path = path.replace("{id}", "7");
            let bodies = [json!({}), json!({"name": "a"}), json!({"ids": [1]})];
            let listed = described["parameters"].as_array().cloned().unwrap_or_default();
            let parameters = listed.iter().filter(|parameter| parameter["in"] == "query").map(|parameter| {
                let name = parameter["name"].as_str().unwrap().to_string();
                let value = match name.as_str() {
                    "status" => "new",
                    "drift" => "same",
                    "after" | "since" | "limit" => "5",
                    _ => "a",
                };
                (name, value.to_string())
            });
            let parameters: Vec<(String, String)> = parameters.collect();
            let answered = bodies.iter().any(|body| {
                let body = if acts { body.to_string().into_bytes() } else { Vec::new() };
                let (path, parameters) = (path.clone(), parameters.clone());
                check(&Request { acts, path, parameters, body, ..Request::default() }).is_ok()
            });
            assert!(answered, "{method} {path}");
            let other = Request { acts, path: format!("{path}x"), ..Request::default() };
            assert_eq!(check(&other).map_err(|refused| refused.status), Err(404), "{path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    for reference in DOCUMENT.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let schemas = names(&document["components"]["schemas"]);
    let unused = schemas.iter().filter(|name| !DOCUMENT.contains(&format!("schemas/{name}\"")));
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<&String>::new());
}
