use super::*;
use serde_json::json;

fn get(target: &str) -> Result<Call, u16> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")));
    let parameters = pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let request = Request { path: path.into(), parameters, ..Request::default() };
    check(&request).map(|checked| checked.call).map_err(|refused| refused.status)
}

fn post(path: &str, body: Json) -> Result<Checked, u16> {
    let request = Request { acts: true, path: path.into(), body: body.to_string().into_bytes(), ..Request::default() };
    check(&request).map_err(|refused| refused.status)
}

fn range<K>(after: Option<K>, limit: u32) -> Range<K> {
    Range { after, limit }
}

#[test]
fn paths_name_the_methods_that_they_have() {
    for (path, expected) in [
        ("/jobs", "GET, HEAD, POST"),
        ("/jobs/7", "GET, HEAD"),
        ("/jobs/retry", "POST"),
        ("/queue/pause", "POST"),
        ("/databases/7/drop", "POST"),
        ("/rollouts", "GET, HEAD"),
        ("/rollouts/7", "GET, HEAD"),
        ("/rollouts/7/abort", "POST"),
        ("/rollouts/x/abort", ""),
        ("/jobs/x", ""),
        ("/nothing", ""),
    ] {
        assert_eq!(allowed(path), expected, "{path}");
        let other = Request { is_other: true, path: path.into(), ..Request::default() };
        let status = if expected.is_empty() { 404 } else { 405 };
        assert_eq!(check(&other).map_err(|refused| refused.status), Err(status), "{path}");
    }
}

#[test]
fn what_reads_is_checked() {
    let shop = Filter { res_type: Some("shop".into()), status: Some(Status::Error), ..Filter::default() };
    for (target, expected) in [
        ("/openapi.json", Ok(Call::Document)),
        ("/status", Ok(Call::Status)),
        ("/status?x=1", Err(400)),
        ("/jobs", Ok(Call::Jobs(Filter::default(), range(None, 50)))),
        ("/jobs?status=error&type=shop&after=9&limit=1000", Ok(Call::Jobs(shop, range(Some(9), 1000)))),
        ("/jobs?status=failed", Err(400)),
        ("/jobs?limit=0", Err(400)),
        ("/jobs?limit=1001", Err(400)),
        ("/jobs?limit=-1", Err(400)),
        ("/jobs?after=x", Err(400)),
        ("/jobs?after=18446744073709551616", Err(400)),
        ("/jobs?after=1&after=2", Err(400)),
        ("/jobs?since=1", Err(400)),
        ("/jobs/17", Ok(Call::Job(17))),
        ("/jobs/18446744073709551615", Ok(Call::Job(u64::MAX))),
        ("/jobs/-1", Err(404)),
        ("/jobs/1x", Err(404)),
        ("/jobs/", Err(404)),
        ("/jobs/1/2", Err(404)),
        ("/jobs/retry", Err(405)),
        ("/queue/pause", Err(405)),
        ("/databases/1/drop", Err(405)),
        ("/consumers?after=a.b", Ok(Call::Consumers(range(Some("a.b".into()), 50)))),
        ("/consumers?after=ä", Err(400)),
        ("/daemons", Ok(Call::Daemons)),
        ("/audit?after=3", Ok(Call::Audit(range(Some(3), 50)))),
        ("/events?since=0&state=Comp*", Ok(Call::Events { state: Some("Comp*".into()), range: range(Some(0), 50) })),
        (
            "/databases?name=res_&drift=differs&after=res_a",
            Ok(Call::Databases(
                Chosen { name: Some("res_".into()), res_type: None, drift: Some(Verdict::Differs) },
                range(Some("res_a".into()), 50),
            )),
        ),
        ("/databases?drift=new", Err(400)),
        ("/nothing", Err(404)),
        ("", Err(404)),
        ("/", Err(404)),
        ("/../jobs", Err(404)),
    ] {
        assert_eq!(get(target), expected, "{target}");
    }
}

#[test]
fn what_acts_is_checked() {
    let job = NewJob { name: "a".into(), ..NewJob::default() };
    let retry = |which, dry_run| Ok(Call::Change { change: Change::Retry, which, dry_run });
    let all = Which::Matching(Filter::default());
    for (path, body, expected) in [
        ("/jobs", json!({"name": "a"}), Ok(Call::Add(job.clone()))),
        (
            "/jobs",
            json!({"name": "a", "type": "t", "url": "u", "priority": -5, "delay_s": 60}),
            Ok(Call::Add(NewJob { res_type: "t".into(), url: Some("u".into()), priority: -5, delay_s: 60, ..job })),
        ),
        ("/jobs", json!({}), Err(400)),
        ("/jobs", json!({"name": ""}), Err(400)),
        ("/jobs", json!({"name": "x".repeat(256)}), Err(400)),
        ("/jobs", json!({"name": "a", "priority": 40_000}), Err(400)),
        ("/jobs", json!({"name": "a", "priority": 0.5}), Err(400)),
        ("/jobs", json!({"name": "a", "delay_s": -1}), Err(400)),
        ("/jobs", json!({"name": "a", "status": "done"}), Err(400)),
        ("/jobs", json!(["a"]), Err(400)),
        ("/jobs/retry", json!({"ids": [1, "18446744073709551615"]}), retry(Which::Ids(vec![1, u64::MAX]), false)),
        ("/jobs/retry", json!({"filter": {}, "dry_run": true}), retry(all.clone(), true)),
        ("/jobs/retry", json!({"filter": {"type": null}}), retry(all, false)),
        ("/jobs/retry", json!({"filter": {"status": "new"}}), Err(400)),
        ("/jobs/retry", json!({"filter": {"status": 1}}), Err(400)),
        ("/jobs/retry", json!({"filter": {"id": "1"}}), Err(400)),
        ("/jobs/retry", json!({"filter": []}), Err(400)),
        ("/jobs/retry", json!({"ids": []}), Err(400)),
        ("/jobs/retry", json!({"ids": null, "filter": {}}), Err(400)),
        ("/jobs/retry", json!({"ids": [1], "filter": null}), Err(400)),
        ("/jobs/retry", json!({"ids": [-1]}), Err(400)),
        ("/jobs/retry", json!({"ids": [1.5]}), Err(400)),
        ("/jobs/retry", json!({"ids": vec![1; MAX_IDS + 1]}), Err(400)),
        ("/jobs/retry", json!({"ids": [1], "filter": {}}), Err(400)),
        ("/jobs/retry", json!({"dry_run": true}), Err(400)),
        ("/jobs/retry", json!({"ids": [1], "dry_run": "yes"}), Err(400)),
        ("/queue/pause", json!({}), Ok(Call::Pause)),
        ("/queue/resume", json!({"reason": null}), Ok(Call::Resume)),
        ("/queue/resume", json!({"reason": 5}), Err(400)),
        ("/queue/stop", json!({}), Err(404)),
        ("/databases/7/drop", json!({}), Ok(Call::Drop(7, None))),
        ("/databases/7/drop", json!({"after": "7d"}), Ok(Call::Drop(7, Some(604_800)))),
        ("/databases/7/drop", json!({"after": "7"}), Err(400)),
        ("/databases/7/drop", json!({"after": 7}), Err(400)),
        ("/databases/7/restore", json!({}), Ok(Call::Restore(7))),
        ("/databases/7/restore", json!({"after": "7d"}), Err(400)),
        ("/databases/x/drop", json!({}), Err(404)),
        ("/status", json!({}), Err(405)),
        ("/jobs/7", json!({}), Err(405)),
    ] {
        assert_eq!(post(path, body.clone()).map(|checked| checked.call), expected, "{path} {body}");
    }
    let reason = post("/queue/pause", json!({"reason": "night"})).unwrap().reason;
    assert_eq!(reason.as_deref(), Some("night"));
    let empty = Request { acts: true, path: "/queue/pause".into(), ..Request::default() };
    assert_eq!(check(&empty).map(|checked| checked.reason), Ok(None));
    for body in ["{", "nonsense", "{\"reason\":\"\u{0}", "[]"] {
        let request = Request { body: body.into(), ..empty.clone() };
        assert_eq!(check(&request).map_err(|refused| refused.status), Err(400), "{body}");
    }
}
