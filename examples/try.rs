//! throwaway
use orch::machine::*; use orch::usecase::*; use orch::protocol::id::TaskId; use orch::protocol::task::Definition;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    if a.first().map(String::as_str)==Some("__supervise") { std::process::exit(orch::world::process::supervisor::supervisor_main()); }
    let state = std::path::PathBuf::from(std::env::var("ORCH_STATE").unwrap());
    let s = std::env::var("ORCH_SESSION").ok();
    if a[0]=="init" { println!("{:?}", init(&InitRequest{state, remote: a.get(1).cloned(), session: s, ..Default::default()})); return }
    let t=std::time::Instant::now();
    let mut q = match open(&Options{state, session: s, no_sync:false}) { Ok(q)=>q, Err(e)=>{ eprintln!("{e:?}"); std::process::exit(e.kind as i32)} };
    if std::env::var("T").is_ok() { eprintln!("open {:?}", t.elapsed()); }
    let id=|n:usize| TaskId::parse(&a[n]).unwrap();
    let r: Result<String, error::Error> = match a[0].as_str() {
        "add" => add::add(&mut q, Some(id(1)), Definition{title:"x".into(), ..Default::default()}).map(|r|format!("{} {} {}", r.task.id(), r.created, r.published)),
        "addmany" => { let n:usize=a[1].parse().unwrap(); add::add_all(&mut q, (0..n).map(|i|(Some(TaskId::parse(&format!("T-{i}")).unwrap()), Definition{title:format!("task {i}"), ..Default::default()})).collect()).map(|r| format!("{}", r.len())) }
        "pick" => claim::pick(&mut q, &claim::Terms::default()).map(|c| format!("{} e{} r{}", c.task.id(), c.epoch, c.retries)),
        "claim" => claim::claim(&mut q, &id(1), &claim::Terms::default()).map(|c| format!("{} e{} r{} rep{}", c.task.id(), c.epoch, c.retries, c.repeated)),
        "hb" => holder::heartbeat(&mut q, &id(1), None, None).map(|b| format!("{b:?}")),
        "done" => holder::done(&mut q, &id(1), None, &holder::Finish{notes:"ok".into(), ..Default::default()}).map(|c| format!("{} pub{} rep{}", c.task.id(), c.published, c.repeated)),
        "show" => read::show(&mut q, &id(1)).map(|t| format!("{t:#?}")),
        "list" => read::list(&mut q, &Default::default()).map(|t| t.iter().map(|t| format!("{} {:?}\n", t.id(), t.status())).collect()),
        "sync" => sync::sync(&mut q).map(|s| format!("{s:?}")),
        "watch" => watch::round(&mut q, Default::default()).map(|s| format!("{s:?}")),
        "cancel" => operator::cancel(&mut q, &id(1), "no").map(|c| format!("{:?}", c.task.status())),
        _ => panic!() };
    if std::env::var("T").is_ok() { eprintln!("all {:?}", t.elapsed()); }
    for n in q.notices() { eprintln!("note: {n}") }
    match r { Ok(s)=>println!("{s}"), Err(e)=>{ eprintln!("{e:?}"); std::process::exit(e.kind as i32)} }
}
