//! The files of the page, which are part of the program. There is no other file that could be asked for. Owns their types,
//! their tags and the policy under which a browser runs them.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::{request::Head, response::Response};

/// What the page may do: load its own files and ask its own daemon. No markup is made from text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($path:literal, $name:literal, $content_type:expr) => {
        File { path: $path, content_type: $content_type, text: include_str!(concat!("dashboard/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/dashboard/add.js", "add.js", SCRIPT),
    file!("/dashboard/api.js", "api.js", SCRIPT),
    file!("/dashboard/app.js", "app.js", SCRIPT),
    file!("/dashboard/audit.js", "audit.js", SCRIPT),
    file!("/dashboard/charts.js", "charts.js", SCRIPT),
    file!("/dashboard/confirm.js", "confirm.js", SCRIPT),
    file!("/dashboard/databases.js", "databases.js", SCRIPT),
    file!("/dashboard/dom.js", "dom.js", SCRIPT),
    file!("/dashboard/events.js", "events.js", SCRIPT),
    file!("/dashboard/format.js", "format.js", SCRIPT),
    file!("/dashboard/icon.svg", "icon.svg", IMAGE),
    file!("/dashboard/job.js", "job.js", SCRIPT),
    file!("/dashboard/jobs.js", "jobs.js", SCRIPT),
    file!("/dashboard/list.js", "list.js", SCRIPT),
    file!("/dashboard/login.js", "login.js", SCRIPT),
    file!("/dashboard/overview.js", "overview.js", SCRIPT),
    file!("/dashboard/rollouts.js", "rollouts.js", SCRIPT),
    file!("/dashboard/stream.js", "stream.js", SCRIPT),
    file!("/dashboard/style.css", "style.css", STYLE),
    file!("/dashboard/subscribers.js", "subscribers.js", SCRIPT),
    file!("/dashboard/uplot.css", "uplot.css", STYLE),
    file!("/dashboard/uplot.js", "uplot.js", SCRIPT),
];

/// The tag of each file: a part of its hash.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |file: &File| {
        let hash = Sha256::digest(file.text);
        let digits: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    };
    FILES.iter().map(tag).collect()
});

/// The number of the file at this path.
pub fn find(path: &str) -> Option<usize> {
    FILES.iter().position(|file| file.path == path)
}

/// The file, or that the browser's copy is current.
pub fn response(file: usize, head: &Head) -> Response {
    let (tag, File { content_type, text, .. }) = (&TAGS[file], &FILES[file]);
    let is_current = head.field("if-none-match").is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let response = match is_current {
        true => Response::new(304, content_type, ""),
        false => Response::new(200, content_type, *text),
    };
    response.with("ETag", tag.as_str()).with("Cache-Control", "no-cache").with("Content-Security-Policy", POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    #[test]
    fn every_file_of_the_folder_is_served_and_all_are_small() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/net/http/dashboard");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let present: BTreeSet<String> = names.filter(|name| !name.ends_with(".LICENSE")).collect();
        let name = |file: &File| file.path.strip_prefix("/dashboard/").unwrap_or("index.html").to_string();
        assert_eq!(FILES.iter().map(name).collect::<BTreeSet<_>>(), present);
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes < 200_000, "{bytes} bytes in all");
    }

    #[test]
    fn own_files_name_no_other_host_and_make_no_markup() {
        for File { path, text, .. } in FILES.iter().filter(|file| !file.path.contains("uplot.")) {
            for forbidden in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick="]
            {
                assert!(!text.contains(forbidden), "{path}: {forbidden}");
            }
            let addresses = text.split("://").count() - 1;
            let names_of_formats = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(addresses, names_of_formats, "{path} names another host");
        }
    }

    #[test]
    fn browser_with_the_same_file_gets_no_second_copy() {
        let head = |fields: &str| Head::parse(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes()).unwrap();
        let file = find("/dashboard/app.js").unwrap();
        let text =
            |fields: &str| String::from_utf8(response(file, &head(fields)).encode(false, false).to_vec()).unwrap();
        let whole = text("");
        let tag = whole.split("ETag: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert!(whole.starts_with("HTTP/1.1 200 ") && whole.matches("Cache-Control: ").count() == 1, "{whole}");
        let current = text(&format!("If-None-Match: \"old\", {tag}\r\n"));
        assert!(current.starts_with("HTTP/1.1 304 ") && current.ends_with("\r\n\r\n"), "{current}");
        assert!(text("If-None-Match: \"old\"\r\n").starts_with("HTTP/1.1 200 "));
    }
}
