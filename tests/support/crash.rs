//! What a power cut may leave of a recorded run.
//!
//! POSIX promises little: the bytes of a file that was not synced may be there, cut short, zero or
//! missing; any of the names that were made, moved or removed in a directory may be as before, unless the
//! directory was synced since. A file's sync says nothing of its name. Every tree that these rules allow
//! is built, at every point of the run.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

/// A change of names in one directory: what each stands for then, if anything. It happens as one.
type Naming = Vec<(String, Option<usize>)>;

/// A step of the run; files and directories by number, 0 is the root and was there before.
#[derive(Clone)]
pub enum Step {
    New { directory: bool },
    Name { dir: usize, naming: Naming },
    Write { node: usize, at: usize, bytes: Vec<u8> },
    Cut { node: usize, length: usize },
    Sync { node: usize, directory: bool },
    Ack,
}

/// A run as recorded.
#[derive(Default)]
pub struct Run {
    /// What it did, each with the call it did it by.
    pub steps: Vec<(Step, String)>,
}

impl Run {
    /// The same run without some of its steps.
    pub fn without(&self, left_out: fn(&Step) -> bool) -> Self {
        Self { steps: self.steps.iter().filter(|(step, _)| !left_out(step)).cloned().collect() }
    }
}

/// Names in a directory.
type Names = BTreeMap<String, usize>;

fn rename(names: &mut Names, naming: &Naming) {
    for (name, node) in naming {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

/// Reads what `strace -f -xx` wrote of a run whose files are all below `root`.
pub fn read(log: &str, root: &Path) -> Run {
    let mut reader = Reader { root: root.into(), dirs: vec![Some(Names::new())], ..Reader::default() };
    let mut begun: HashMap<&str, &str> = HashMap::new();
    for line in log.lines() {
        let Some((pid, line)) = line.split_once(char::is_whitespace) else { continue };
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, start);
        } else if line.starts_with("<... ") {
            let (_, rest) = line.split_once("resumed>").unwrap();
            let start = begun.remove(pid).unwrap();
            reader.line(&format!("{start}{rest}"));
        } else {
            reader.line(line);
        }
    }
    reader.run
}

#[derive(Default)]
struct Reader {
    root: PathBuf,
    /// The names as the program sees them, by node; `None` for a file.
    dirs: Vec<Option<Names>>,
    files: HashMap<u32, (usize, usize)>,
    call: String,
    run: Run,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let Some((call, rest)) = line.split_once('(') else { return };
        let Some((args, result)) = rest.rsplit_once(" = ") else { return };
        let args = args.trim_end().trim_end_matches(')');
        let Some(result) = result.split_whitespace().next().and_then(|r| r.parse::<u32>().ok()) else {
            return;
        };
        let texts = texts(args);
        let path = |n: usize| PathBuf::from(String::from_utf8(texts[n].clone()).unwrap());
        let fd = || args.split(',').next().unwrap().trim().parse::<u32>().unwrap();
        let last = || args.rsplit(',').next().unwrap().trim().parse::<usize>().unwrap();
        let shown = texts.iter().map(|t| String::from_utf8_lossy(&t[..t.len().min(80)]).into_owned());
        self.call = format!("{call} {}", shown.collect::<Vec<_>>().join(" "));
        match call {
            "open" | "openat" => self.open(&path(0), args, result),
            "close" => drop(self.files.remove(&fd())),
            "mkdir" | "mkdirat" => self.make(&path(0), true),
            "fsync" | "fdatasync" => {
                if let Some((node, _)) = self.files.get(&fd()) {
                    let (node, directory) = (*node, self.dirs[*node].is_some());
                    self.step(Step::Sync { node, directory });
                }
            }
            "ftruncate" => {
                if let Some((node, _)) = self.files.get(&fd()) {
                    self.step(Step::Cut { node: *node, length: last() });
                }
            }
            "write"
                if !self.files.contains_key(&fd()) && texts[0].trim_ascii_start().starts_with(b"ack ") =>
            {
                self.step(Step::Ack);
            }
            // An answer of a gateway, by its socket.
            "sendto" if texts[0].windows(11).any(|part| part == b"\"ok\":true,\"") => self.step(Step::Ack),
            "write" if !self.files.contains_key(&fd()) => {}
            "write" => {
                let (node, at) = self.files[&fd()];
                self.files.insert(fd(), (node, at + result as usize));
                self.step(Step::Write { node, at, bytes: texts[0][..result as usize].to_vec() });
            }
            "pwrite64" => {
                if let Some((node, _)) = self.files.get(&fd()) {
                    self.step(Step::Write { node: *node, at: last(), bytes: texts[0].clone() });
                }
            }
            _ if call.starts_with("unlink") => {
                if let Some((dir, name)) = self.resolve(&path(0)) {
                    self.name(dir, vec![(name, None)]);
                }
            }
            _ if call.starts_with("rename") || call.starts_with("link") => {
                let (Some((from, old)), Some((to, new))) = (self.resolve(&path(0)), self.resolve(&path(1)))
                else {
                    return;
                };
                assert_eq!(from, to, "names that move between directories have rules of their own");
                let names = self.dirs[from].as_ref().unwrap();
                let (node, replaced) = (names[&old], names.get(&new).copied());
                let mut naming = vec![(new, Some(node))];
                // Two names of one file: rename(2) does nothing.
                if call.starts_with("rename") && replaced != Some(node) {
                    naming.push((old, None));
                }
                self.name(from, naming);
            }
            _ => {}
        }
    }

    fn step(&mut self, step: Step) {
        self.run.steps.push((step, self.call.clone()));
    }

    /// The directory of `path` and the name in it, if it is below the root.
    fn resolve(&self, path: &Path) -> Option<(usize, String)> {
        let rest = path.strip_prefix(&self.root).ok()?;
        let name = rest.file_name()?.to_str()?.to_owned();
        let mut dir = 0;
        for part in rest.parent()?.iter() {
            dir = *self.dirs[dir].as_ref()?.get(part.to_str()?)?;
        }
        Some((dir, name))
    }

    fn name(&mut self, dir: usize, naming: Naming) {
        rename(self.dirs[dir].as_mut().unwrap(), &naming);
        self.step(Step::Name { dir, naming });
    }

    fn make(&mut self, path: &Path, directory: bool) {
        let Some((dir, name)) = self.resolve(path) else { return };
        let node = self.dirs.len();
        self.dirs.push(directory.then(Names::new));
        self.step(Step::New { directory });
        self.name(dir, vec![(name, Some(node))]);
    }

    fn open(&mut self, path: &Path, args: &str, fd: u32) {
        self.files.remove(&fd);
        if path == self.root {
            self.files.insert(fd, (0, 0));
        }
        let Some((dir, name)) = self.resolve(path) else { return };
        if !self.dirs[dir].as_ref().unwrap().contains_key(&name) {
            assert!(args.contains("O_CREAT"), "{} came from nowhere", path.display());
            self.make(path, false);
        }
        let node = self.dirs[dir].as_ref().unwrap()[&name];
        if args.contains("O_TRUNC") {
            self.step(Step::Cut { node, length: 0 });
        }
        self.files.insert(fd, (node, 0));
    }
}

/// The quoted texts of a line, all of it in hexadecimal.
fn texts(args: &str) -> Vec<Vec<u8>> {
    let hex = |text: &str| text.split("\\x").skip(1).map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    args.split('"').skip(1).step_by(2).map(hex).collect()
}

/// A file or directory, as it is and as it is known to be on disk.
enum Node {
    File { now: Vec<u8>, safe: Vec<u8>, synced: bool },
    Dir { safe: Names, pending: Vec<Naming> },
}

/// A tree as a power cut left it: every path with its content, directories without.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tree(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Tree {
    /// Makes it, in `root`.
    pub fn build(&self, root: &Path) {
        for (path, content) in &self.0 {
            match content {
                None => fs::create_dir(root.join(path)).unwrap(),
                Some(bytes) => fs::write(root.join(path), bytes).unwrap(),
            }
        }
    }
}

/// The first error of `check` about the different trees at each point of `run`, which is asked of each
/// with how many changes were acknowledged by then; and how many trees were looked at.
pub fn first_loss(run: &Run, check: impl Fn(&Tree, u32) -> Option<String>) -> (usize, Option<String>) {
    let mut nodes = vec![Node::Dir { safe: Names::new(), pending: Vec::new() }];
    let mut acks = 0;
    let mut seen = HashSet::new();
    for (step, call) in &run.steps {
        apply(step, &mut nodes, &mut acks);
        let pending: Vec<(usize, usize)> = nodes
            .iter()
            .enumerate()
            .filter_map(|(n, node)| match node {
                Node::Dir { pending, .. } => Some((n, pending.len())),
                Node::File { .. } => None,
            })
            .collect();
        let bits: usize = pending.iter().map(|(_, length)| length).sum();
        for kept in 0u32..1 << bits {
            // Which of its changes of names each directory keeps, a bit each.
            let mut rest = kept;
            let mut ways = HashMap::new();
            for (dir, length) in &pending {
                ways.insert(*dir, rest & ((1 << length) - 1));
                rest >>= length;
            }
            for loss in [Loss::Nothing, Loss::Everything, Loss::Half, Loss::Zeros] {
                let mut tree = Tree(Vec::new());
                grow(&nodes, 0, &ways, loss, Path::new(""), &mut tree);
                if !seen.contains(&(acks, tree.clone()))
                    && let Some(error) = check(&tree, acks)
                {
                    let lost = format!("names kept {kept:0bits$b}, bytes lost: {loss:?}");
                    return (
                        seen.len(),
                        Some(format!("cut after {call}, {acks} acknowledged, {lost}: {error}")),
                    );
                }
                seen.insert((acks, tree));
            }
        }
    }
    (seen.len(), None)
}

/// What becomes of bytes that were not synced.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Nothing,
    Everything,
    Half,
    Zeros,
}

fn apply(step: &Step, nodes: &mut Vec<Node>, acks: &mut u32) {
    match step {
        Step::New { directory: true } => nodes.push(Node::Dir { safe: Names::new(), pending: Vec::new() }),
        Step::New { directory: false } => {
            nodes.push(Node::File { now: Vec::new(), safe: Vec::new(), synced: true });
        }
        Step::Ack => *acks += 1,
        Step::Name { dir, naming } => {
            if let Node::Dir { pending, .. } = &mut nodes[*dir] {
                pending.push(naming.clone());
            }
        }
        Step::Write { node, at, bytes } => {
            if let Node::File { now, synced, .. } = &mut nodes[*node] {
                now.resize(now.len().max(at + bytes.len()), 0);
                now[*at..at + bytes.len()].copy_from_slice(bytes);
                *synced = false;
            }
        }
        Step::Cut { node, length } => {
            if let Node::File { now, synced, .. } = &mut nodes[*node] {
                now.resize(*length, 0);
                *synced = false;
            }
        }
        Step::Sync { node, .. } => match &mut nodes[*node] {
            Node::File { now, safe, synced } => {
                safe.clone_from(now);
                *synced = true;
            }
            Node::Dir { safe, pending } => pending.drain(..).for_each(|naming| rename(safe, &naming)),
        },
    }
}

fn grow(nodes: &[Node], node: usize, kept: &HashMap<usize, u32>, loss: Loss, path: &Path, tree: &mut Tree) {
    match &nodes[node] {
        Node::File { now, synced: true, .. } => tree.0.push((path.into(), Some(now.clone()))),
        Node::File { now, safe, .. } => {
            // What was synced, and only appended to since, stays.
            let kept = if now.starts_with(safe) { safe.len() } else { 0 };
            let bytes = match loss {
                Loss::Nothing => now.clone(),
                Loss::Everything => safe.clone(),
                Loss::Half => now[..kept + (now.len() - kept) / 2].to_vec(),
                Loss::Zeros => now[..kept].iter().copied().chain(vec![0; now.len() - kept]).collect(),
            };
            tree.0.push((path.into(), Some(bytes)));
        }
        Node::Dir { safe, pending } => {
            if node != 0 {
                tree.0.push((path.into(), None));
            }
            let mut names = safe.clone();
            let kept_here = pending.iter().enumerate().filter(|(bit, _)| kept[&node] >> bit & 1 == 1);
            kept_here.for_each(|(_, naming)| rename(&mut names, naming));
            for (name, child) in names {
                grow(nodes, child, kept, loss, &path.join(name), tree);
            }
        }
    }
}
