//! What a program in the cage can and cannot do.

use strongroom_models::{Adaptation, CommandTrainer, NotCaged, TrainerProgram, TrainingError};

use crate::command::{config, trainer};
use crate::rig::{order, plan, train};

/// What the script says with `told(...)`.
const TELL: &str = "import json,os,sys\n\
    def told(what): print(json.dumps({'event':'error','message':str(what)}), file=sys.stderr); sys.exit(1)\n";

async fn said(script: &str) -> String {
    let order = order(plan(Adaptation::Lora, 1, 1), 1);
    match train(&trainer(&format!("{TELL}{script}")).await, order)
        .await
        .err()
    {
        Some(TrainingError::Told(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_disk_can_be_written_and_memory_can() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    let place = folder.path().display();
    let tries = format!(
        "left=[]\n\
         for place in ['{place}/x', '/x', '/etc/x', os.path.expanduser('~root')+'/x', '/var/lib/x', '/dev/vda', '/proc/sysrq-trigger', '/sys/x']:\n\
         \x20 try:\n\
         \x20   open(place,'w').write('x'); left.append(place)\n\
         \x20 except OSError: pass\n\
         for place in ['/tmp/x', '/dev/shm/x', os.environ['HOME']+'/y']: open(place,'w').write('x')\n\
         told(left)"
    );
    assert_eq!(said(&tries).await, "[]");
    assert!(!std::path::Path::new("/tmp/x").exists());
    assert_eq!(folder.path().read_dir().expect("folder").count(), 0);
}

#[tokio::test]
async fn what_was_closed_cannot_be_opened_from_within() {
    // With namespaces of its own it has every right in them, but the mounts are locked.
    let script = "import subprocess\n\
        tries=['mount -o remount,rw /', 'umount /tmp', 'unshare -Urm mount -o remount,rw,bind /', 'unshare -Urm umount /tmp', \
        'unshare -Urm sh -c \"mount -o remount,rw,bind / && touch /x\"']\n\
        told([t for t in tries if subprocess.run(t, shell=True, capture_output=True).returncode == 0])";
    assert_eq!(said(script).await, "[]");
}

#[tokio::test]
async fn there_is_no_network_unless_it_is_allowed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
    let port = listener.local_addr().expect("address").port();
    let script = format!(
        "{TELL}import socket\ntry: socket.create_connection(('127.0.0.1',{port}),2); told('reached')\nexcept OSError: told('none')"
    );
    for (network, expected) in [(false, "none"), (true, "reached")] {
        let mut config = config(&script);
        config.network = network;
        let trainer = CommandTrainer::new(config).await.expect("caged");
        let error = train(&trainer, order(plan(Adaptation::Lora, 1, 1), 1))
            .await
            .err();
        assert_eq!(error, Some(TrainingError::Told(expected.to_owned())));
    }
}

#[tokio::test]
async fn it_sees_no_other_process_no_hidden_folder_and_no_variable_of_ours() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    std::fs::write(folder.path().join("root.key"), "secret").expect("written");
    let script = format!(
        "{TELL}pids=[p for p in os.listdir('/proc') if p.isdigit()]\n\
         import resource\n\
         told([len(pids), os.listdir('{}'), [os.environ.get(k) for k in ('HOME','CARGO_MANIFEST_DIR')], resource.getrlimit(resource.RLIMIT_CORE)[1] < 2])",
        folder.path().display()
    );
    let mut config = config(&script);
    config.hidden = vec![folder.path().to_owned()];
    let trainer = CommandTrainer::new(config).await.expect("caged");
    let error = train(&trainer, order(plan(Adaptation::Lora, 1, 1), 1))
        .await
        .err();
    let told = "[1, [], ['/tmp', None], True]".to_owned();
    assert_eq!(error, Some(TrainingError::Told(told)));
}

#[tokio::test]
async fn where_no_cage_can_be_built_nothing_is_run_unless_that_is_accepted() {
    // A keeper that may make no namespaces: those that it may have are used up.
    let mut config = config("import sys; open('/proc/self/comm').read(); sys.exit(0)");
    config.cage = TrainerProgram {
        program: "/bin/sh".into(),
        arguments: [
            "-c",
            "exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"' \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_strongroom-model-trainer"),
        ]
        .map(Into::into)
        .into(),
    };
    match CommandTrainer::new(config.clone()).await.err() {
        Some(NotCaged { reason }) => assert!(reason.contains("namespaces cannot be made"), "{reason}"),
        None => panic!("a cage was built"),
    }
    config.insecure = true;
    let trainer = CommandTrainer::new(config).await.expect("accepted");
    let error = train(&trainer, order(plan(Adaptation::Lora, 1, 1), 1))
        .await
        .err();
    assert_eq!(error, Some(TrainingError::Crashed), "it ran, and made no model");
}
