//! One file: its documents by hash, and how a new version of it is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use reef_config::parse::{self, Parsed};
use reef_config::{ClusterId, Kind, Object, ObjectKey, Origin, Problem, Severity};

use crate::metrics::SourceMetrics;
use crate::walk::Stamp;

/// Texts are parsed in groups of about this many bytes, so that a cold read of a large tree never holds all of it.
const GROUP_BYTES: usize = 8 << 20;

/// From this many documents on a second thread helps.
const PARALLEL_DOCUMENTS: usize = 64;

/// What is remembered of a document.
#[derive(Debug, Clone)]
pub(crate) struct DocumentState {
    hash: u128,
    line: u32,
    /// The objects it stands for: those it holds, and those whose last good version stays because of it.
    pub(crate) keys: Box<[ObjectKey]>,
    /// What is wrong with it.
    pub(crate) problems: Box<[Problem]>,
}

impl DocumentState {
    /// The line of the file the document begins on.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }
}

/// What is remembered of a file.
#[derive(Debug, Clone)]
pub(crate) struct FileState {
    pub(crate) stamp: Stamp,
    pub(crate) documents: Vec<DocumentState>,
    /// What is wrong with the file as a whole.
    pub(crate) problem: Option<Problem>,
}

impl FileState {
    /// For every object the document that counts, which is the first one: its hash, its index, and whether it
    /// is without errors.
    pub(crate) fn winners(&self) -> BTreeMap<&ObjectKey, (u128, usize, bool)> {
        let mut winners = BTreeMap::new();
        for (index, document) in self.documents.iter().enumerate() {
            let about = (document.hash, index, !has_error(&document.problems));
            for key in &document.keys {
                winners.entry(key).or_insert(about);
            }
        }
        winners
    }

    /// The objects the file stands for; a key that is there twice comes twice.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.documents
            .iter()
            .flat_map(|document| document.keys.iter())
    }
}

/// A new version of a file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) path: Arc<str>,
    pub(crate) state: FileState,
    /// The objects of the documents that were parsed, with the index of the document.
    pub(crate) objects: Vec<(usize, Object)>,
}

/// A file to read, with what is known of it.
#[derive(Debug)]
pub(crate) struct Job<'s> {
    pub(crate) path: Arc<str>,
    pub(crate) stamp: Stamp,
    pub(crate) earlier: Option<&'s FileState>,
}

/// Reads files and parses those of their documents that are new; a file that vanished meanwhile is left out.
pub(crate) fn load(
    jobs: Vec<Job<'_>>,
    cluster: &ClusterId,
    metrics: &SourceMetrics,
) -> Vec<Loaded> {
    let mut loaded = Vec::with_capacity(jobs.len());
    let mut group = Vec::new();
    let mut group_bytes = 0;
    for job in jobs {
        match read(Path::new(&*job.path)) {
            Ok(bytes) => {
                metrics.files.inc();
                metrics
                    .bytes
                    .inc_by(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                group_bytes += bytes.len();
                group.push((job, bytes));
                if group_bytes >= GROUP_BYTES {
                    load_group(&group, (cluster, metrics), &mut loaded);
                    group.clear();
                    group_bytes = 0;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let problem = Problem::error(parse::code::INPUT, format!("can't be read: {error}"));
                loaded.push(kept(&job, problem));
            }
        }
    }
    load_group(&group, (cluster, metrics), &mut loaded);
    loaded
}

/// The file's bytes; one byte more than the limit at most, which is enough to refuse it.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    let limit = u64::try_from(parse::MAX_INPUT_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let expected = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn load_group(
    group: &[(Job<'_>, Vec<u8>)],
    (cluster, metrics): (&ClusterId, &SourceMetrics),
    loaded: &mut Vec<Loaded>,
) {
    // Split and hash everything, then parse what is new on two threads.
    let mut split = Vec::new();
    let mut texts = Vec::new();
    for (job, bytes) in group {
        let documents = match parse::documents(bytes) {
            Ok(documents) => documents,
            Err(problem) => {
                loaded.push(kept(job, problem));
                continue;
            }
        };
        let mut known: BTreeMap<u128, VecDeque<&DocumentState>> = BTreeMap::new();
        for document in job.earlier.iter().flat_map(|earlier| &earlier.documents) {
            known.entry(document.hash).or_default().push_back(document);
        }
        let mut slots = Vec::with_capacity(documents.len());
        for document in documents {
            let hash = hash(document.text);
            // A document with a problem of severity error is parsed again, for only a parse can tell which
            // objects it now stands for.
            let same = known.get_mut(&hash).and_then(VecDeque::pop_front);
            if same.is_none_or(|same| has_error(&same.problems)) {
                texts.push((Arc::clone(&job.path), document.line, document.text));
            }
            slots.push((
                hash,
                document.line,
                same.filter(|same| !has_error(&same.problems)),
            ));
        }
        split.push((job, slots));
    }
    metrics
        .documents
        .inc_by(u64::try_from(texts.len()).unwrap_or(u64::MAX));
    let mut parsed = parse_all(&texts, cluster).into_iter();
    for (job, slots) in split {
        loaded.push(assemble(job, slots, &mut parsed));
    }
}

fn assemble<'s>(
    job: &Job<'s>,
    slots: Vec<(u128, u32, Option<&'s DocumentState>)>,
    parsed: &mut impl Iterator<Item = Parsed>,
) -> Loaded {
    let mut objects = Vec::new();
    let mut documents = Vec::with_capacity(slots.len());
    let mut unidentified = None;
    for (hash, line, same) in slots {
        if let Some(same) = same {
            let problems = same
                .problems
                .iter()
                .map(|problem| moved(problem, same.line, line))
                .collect();
            documents.push(DocumentState {
                hash,
                line,
                keys: same.keys.clone(),
                problems,
            });
            continue;
        }
        let Parsed {
            objects: found,
            problems,
        } = parsed.next().unwrap_or_default();
        let mut keys: Vec<ObjectKey> = Vec::new();
        for object in found.into_iter().filter(|object| is_read(&object.key)) {
            keys.push(object.key.clone());
            objects.push((documents.len(), object));
        }
        let known = |key: &ObjectKey| {
            job.earlier
                .is_some_and(|earlier| earlier.keys().any(|known| known == key))
        };
        for problem in problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
        {
            match &problem.object {
                Some(key) if !keys.contains(key) && known(key) => keys.push(key.clone()),
                Some(_) => {}
                None => unidentified = Some(documents.len()),
            }
        }
        documents.push(DocumentState {
            hash,
            line,
            keys: keys.into(),
            problems: problems.into(),
        });
    }
    if let (Some(at), Some(earlier)) = (unidentified, job.earlier) {
        // A document whose identity can't be read may be any of those that are gone, so all of these stay.
        let here: BTreeSet<&ObjectKey> = documents
            .iter()
            .flat_map(|document: &DocumentState| document.keys.iter())
            .collect();
        let held: BTreeSet<ObjectKey> = earlier
            .keys()
            .filter(|key| !here.contains(key))
            .cloned()
            .collect();
        if let Some(document) = documents.get_mut(at) {
            document.keys = document.keys.iter().cloned().chain(held).collect();
        }
    }
    let held: BTreeSet<ObjectKey> = {
        let fresh: BTreeSet<&ObjectKey> = objects.iter().map(|(_, object)| &object.key).collect();
        documents
            .iter()
            .filter(|document| has_error(&document.problems))
            .flat_map(|document| document.keys.iter())
            .filter(|key| !fresh.contains(key))
            .cloned()
            .collect()
    };
    for document in &mut documents {
        let keeps = document.keys.iter().any(|key| held.contains(key));
        for problem in document.problems.iter_mut().filter(|_| keeps) {
            if problem.severity == Severity::Error {
                problem.reason.push_str(KEPT);
            }
        }
    }
    let state = FileState {
        stamp: job.stamp,
        documents,
        problem: None,
    };
    Loaded {
        path: Arc::clone(&job.path),
        state,
        objects,
    }
}

/// Said where the last good version of an object stays in effect.
pub(crate) const KEPT: &str = " (the last good version stays in effect; a restart drops it)";

/// The state of a file that can't be used as a whole: everything it stood for stays.
fn kept(job: &Job<'_>, mut problem: Problem) -> Loaded {
    let documents = job
        .earlier
        .map(|earlier| earlier.documents.clone())
        .unwrap_or_default();
    if documents.iter().any(|document| !document.keys.is_empty()) {
        problem.reason.push_str(KEPT);
    }
    let problem = problem.at(&Origin {
        path: Arc::clone(&job.path),
        line: 1,
    });
    Loaded {
        path: Arc::clone(&job.path),
        state: FileState {
            stamp: job.stamp,
            documents,
            problem: Some(problem),
        },
        objects: Vec::new(),
    }
}

/// Parses one document; what it holds belongs to `cluster`.
pub(crate) fn parse(text: &str, origin: &Origin, cluster: &ClusterId) -> Parsed {
    let mut parsed = parse::object(text, origin);
    let objects = parsed.objects.iter_mut().map(|object| &mut object.key);
    let named = parsed
        .problems
        .iter_mut()
        .filter_map(|problem| problem.object.as_mut());
    for key in objects.chain(named) {
        key.cluster = cluster.clone();
    }
    parsed
}

fn parse_all(texts: &[(Arc<str>, u32, &str)], cluster: &ClusterId) -> Vec<Parsed> {
    let parse_some = |texts: &[(Arc<str>, u32, &str)]| -> Vec<Parsed> {
        texts
            .iter()
            .map(|(path, line, text)| {
                let origin = Origin {
                    path: Arc::clone(path),
                    line: *line,
                };
                parse(text, &origin, cluster)
            })
            .collect()
    };
    if texts.len() < PARALLEL_DOCUMENTS {
        return parse_some(texts);
    }
    let (first, second) = texts.split_at(texts.len() / 2);
    let (mut parsed, rest) = std::thread::scope(|scope| {
        let helper = scope.spawn(|| parse_some(second));
        let parsed = parse_some(first);
        // A panic of the parser is a bug of Reef; it goes on where a single thread would have panicked.
        (
            parsed,
            helper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    parsed.extend(rest);
    parsed
}

fn hash(text: &str) -> u128 {
    let mut first = [0; 16];
    for (to, from) in first
        .iter_mut()
        .zip(blake3::hash(text.as_bytes()).as_bytes())
    {
        *to = *from;
    }
    u128::from_le_bytes(first)
}

fn has_error(problems: &[Problem]) -> bool {
    problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
}

/// ConfigMaps other than the mesh configuration are nobody's business and may be large.
fn is_read(key: &ObjectKey) -> bool {
    key.kind != Kind::ConfigMap || crate::mesh::is_mesh_config(key)
}

/// The problem after its document moved from line `from` to line `to`.
fn moved(problem: &Problem, from: u32, to: u32) -> Problem {
    let mut problem = problem.clone();
    if let Some(origin) = &mut problem.origin {
        origin.line = (origin.line + to).saturating_sub(from);
    }
    problem
}
