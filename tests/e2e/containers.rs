//! What an orchestrator or a service manager expects of a program: secrets in files.

use std::{fs, os::unix::fs::PermissionsExt};

use resq_test_support::{Instance, Program};

#[test]
fn mounted_secrets_reach_every_program() {
    let instance = Instance::ready("secret_files");
    let mounted = |name: &str, secret: &str, mode| {
        let path = instance.dir().join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let password = mounted("password", &instance.daemon.password, 0o444);
    let token = mounted("token", "s3cret", 0o440);
    let with_files = |program: Program| {
        let program = program.env("MYSQL_PASSWORD", "").env("MYSQL_PASSWORD_FILE", &password);
        program.env("RESQ_TOKEN_FILE", &token)
    };
    let resqd = with_files(instance.resqd()).spawn_ready();
    with_files(instance.resqctl(["add", "a"])).ok();
    let read = ["--sub", "Completed", "--since", "0", "--count", "1"];
    with_files(instance.resq_client(read)).ok();
    instance.resq_client(read).expect_code(3);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let of_files: Vec<_> = finished.warnings().into_iter().filter(|line| line.contains("_file")).collect();
    assert!(matches!(of_files[..], [line] if line.contains("database.password_file")), "{finished}");
}
