//! Inputs from other inputs: seeded, so that a run can be repeated.

/// SplitMix64: small, fast, and good enough to choose what to break.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        match u64::try_from(bound) {
            Ok(bound) if bound > 0 => usize::try_from(self.next() % bound).unwrap_or(0),
            _ => 0,
        }
    }

    /// One of a list that is not empty.
    pub fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Words that mean something to somebody below.
const WORDS: &[&str] = &[
    "*",
    "./*",
    "~/*",
    "*/*",
    "*.local",
    ".",
    "~",
    "-",
    "---\n",
    "null",
    "true",
    "\"\"",
    "0",
    "-1",
    "65535",
    "65536",
    "4294967296",
    "1e400",
    "0.0.0.0",
    "127.0.0.1",
    "::",
    "::ffff:10.0.0.1",
    "10.0.0.0/33",
    "255.255.255.255",
    "None",
    "STATIC",
    "DNS",
    "NONE",
    "DNS_ROUND_ROBIN",
    "DYNAMIC_DNS",
    "MESH_INTERNAL",
    "HTTP",
    "HTTP2",
    "GRPC",
    "TCP",
    "TLS",
    "HTTPS",
    "MONGO",
    "UDP",
    "shop",
    "stock",
    "default",
    "istio-system",
    "*.example.com",
    "cart.shop.svc.cluster.local",
    "unix:///run/x.sock",
    "REGISTRY_ONLY",
    "ALLOW_ANY",
    "&a",
    "*a",
    "<<: *a",
    "|",
    ">-",
    "!!binary",
    "{",
    "}",
    "[",
    "]",
    "clusterIP: None",
    "exportTo: [\".\"]",
    "exportTo: [\"~\"]",
    "publishNotReadyAddresses: true",
    "internalTrafficPolicy: Local",
    "type: ExternalName",
    "resolution: NONE",
    "captureMode: NONE",
    "{prefix: /}",
    "{exact: \"\"}",
    "{regex: \"(\"}",
    "{regex: \".*\"}",
    "{regex: \"a{1,9999}\"}",
    "{host: ledger.stock, subset: v1, port: {number: 80}}",
    "[{host: \"*\"}]",
    "{value: 1e400}",
    "{value: -1}",
    "{value: 0.00001}",
    "101",
    "-1s",
    "0.5ms",
    "876000h",
    "ISTIO_MUTUAL",
    "MUTUAL",
    "SIMPLE",
    "RANDOM",
    "{httpHeaderName: x}",
    "{httpCookie: {name: c, ttl: 0s}}",
    "{consistentHash: {useSourceIp: true}}",
    "{simple: ROUND_ROBIN}",
    "mesh",
    "[mesh, shop/gw]",
    "{labels: {app: cart}}",
    "{matchLabels: {app: cart}}",
    "status: {addresses: [{value: 240.240.0.1}]}",
    "gateway-error,retriable-4xx,502",
    "\\1\\2",
    "/a?b#c",
    "http://x:1",
    "STRICT",
    "PERMISSIVE",
    "é",
    "\u{feff}",
    "\u{2028}",
];

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    text: bool,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    /// A mutator of `corpus`, which is not empty.
    pub fn new(text: bool, corpus: Vec<Vec<u8>>) -> Self {
        Self { text, corpus }
    }

    /// Number of seeds.
    pub fn seeds(&self) -> usize {
        self.corpus.len()
    }

    /// The next input.
    pub fn input(&self, random: &mut Random) -> Vec<u8> {
        let mut input = random.one(&self.corpus).clone();
        // Objects mean more together: half of the texts are several seeds after each other.
        if self.text {
            while random.below(2) == 0 && input.len() < 32 << 10 {
                input.extend_from_slice(b"\n---\n");
                input.extend_from_slice(random.one::<Vec<u8>>(&self.corpus));
            }
        }
        for _ in 0..=random.below(6) {
            if self.text && random.below(4) > 0 {
                self.lines(&mut input, random);
            } else {
                bytes(&mut input, random);
            }
        }
        input
    }

    /// Changes whole lines and words, so that most results still parse.
    fn lines(&self, input: &mut Vec<u8>, random: &mut Random) {
        let mut lines: Vec<Vec<u8>> = input
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let at = random.below(lines.len());
        match random.below(8) {
            0 => {
                lines.remove(at);
            }
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            3 => lines[at].insert(0, b' '),
            4 => {
                let other = random.one(&self.corpus);
                let others: Vec<&[u8]> = other.split(|byte| *byte == b'\n').collect();
                let line = random.one(&others).to_vec();
                lines.insert(at, line);
            }
            // The value of a field, and the item of a list, becomes another one.
            _ => {
                let line = &mut lines[at];
                let start = line
                    .iter()
                    .position(|byte| *byte == b':' || *byte == b'-')
                    .map_or(0, |at| at + 1);
                line.truncate(start);
                line.push(b' ');
                line.extend_from_slice(random.one(WORDS).as_bytes());
            }
        }
        *input = lines.join(&b'\n');
    }
}

fn bytes(input: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(input.len());
    let byte = u8::try_from(random.next() & 0xff).unwrap_or(0);
    match random.below(6) {
        0 => input.insert(at, byte),
        1 if !input.is_empty() => {
            input.remove(at);
        }
        2 if !input.is_empty() => input[at] = byte,
        3 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        4 => {
            let end = (at + random.below(16)).min(input.len());
            let piece = input[at..end].to_vec();
            let to = random.below(input.len());
            input.splice(to..to, piece);
        }
        _ => {
            let word = random.one(WORDS).as_bytes().to_vec();
            input.splice(at..at, word);
        }
    }
}
