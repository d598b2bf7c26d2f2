//! Random `VirtualService`s: hosts that are there or not, conditions of every kind, every action.

use proptest::prelude::*;

fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(list)
}

fn hosts() -> impl Strategy<Value = &'static str> {
    one_of(&[
        "[s0]",
        "[s1]",
        "[s2, s3.ns1.svc.cluster.local]",
        "[s4.ns2.svc.cluster.local]",
        "[h0.example.com]",
        "[h1.example.com, nobody.example.com]",
        "['*.ns0.svc.cluster.local']",
        "['*.example.com']",
        "['*.w0.example.com', s1]",
        "[192.0.2.1]",
        "[a.w1.example.com, '*.com']",
    ])
}

fn condition() -> impl Strategy<Value = String> {
    let path = one_of(&[
        "",
        "uri: {exact: /a}",
        "uri: {prefix: /b}",
        "uri: {prefix: /}",
        "uri: {prefix: /C}, ignoreUriCase: true",
        "uri: {regex: '/d/[0-9]+'}",
        "uri: {regex: '.*'}",
    ]);
    let more = one_of(&[
        "",
        "",
        "headers: {x: {exact: '1'}, a: {prefix: p}}",
        "headers: {x: {}}, withoutHeaders: {z: {regex: 'q+'}}",
        "withoutHeaders: {z: {}}",
        "method: {exact: GET}, scheme: {exact: http}",
        "authority: {prefix: s}",
        "queryParams: {q: {exact: '1'}, r: {regex: '*'}}",
    ]);
    let client = one_of(&[
        "",
        "",
        "",
        "port: 80",
        "port: 5432",
        "sourceLabels: {app: a0}",
        "sourceNamespace: ns0",
        "sourceNamespace: ns1",
        "gateways: [mesh, edge]",
        "gateways: [edge]",
        "name: m, statPrefix: s",
    ]);
    (path, more, client).prop_map(|(path, more, client)| {
        let parts: Vec<&str> = [path, more, client]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        format!("{{{}}}", parts.join(", "))
    })
}

fn destination() -> impl Strategy<Value = String> {
    let host = one_of(&[
        "s0",
        "s1",
        "s2.ns1.svc.cluster.local",
        "h0.example.com",
        "h1.example.com",
        "missing",
    ]);
    let more = one_of(&[
        "",
        "",
        ", port: {number: 80}",
        ", port: {number: 81}",
        ", subset: v1",
    ]);
    (host, more).prop_map(|(host, more)| format!("{{host: {host}{more}}}"))
}

fn forward() -> impl Strategy<Value = String> {
    let headers = one_of(&[
        "",
        ", headers: {request: {set: {a: '%REQ(b)%', host: h}, remove: [c]}, response: {add: {d: e}}}",
    ]);
    let to = prop::collection::vec((destination(), 1..50u8, headers), 1..4).prop_map(|all| {
        let all: Vec<String> = all
            .into_iter()
            .map(|(to, weight, headers)| {
                format!("{{destination: {to}, weight: {weight}{headers}}}")
            })
            .collect();
        format!("route: [{}]", all.join(", "))
    });
    let more = one_of(&[
        "",
        "",
        ", timeout: 2s, retries: {attempts: 3, retryOn: '503,reset', perTryTimeout: 1s, backoff: 10ms}",
        ", retries: {attempts: 0}",
        ", rewrite: {uri: /new, authority: other.example.com}",
        ", rewrite: {uriRegexRewrite: {match: '^/d/(.*)$', rewrite: '/e/\\1'}}",
        ", fault: {delay: {percentage: {value: 1.5}, fixedDelay: 1s}, abort: {percentage: {value: 2}, httpStatus: 503}}",
        ", fault: {abort: {percentage: {value: 2}, grpcStatus: NOT_FOUND}}",
        ", corsPolicy: {allowOrigins: [{prefix: 'https://a'}, {regex: 'https://b.*'}], allowMethods: [GET], maxAge: 1h}",
        ", headers: {request: {set: {x: '1'}, add: {w: '100%%'}}, response: {remove: [y]}}",
    ]);
    let mirror = prop_oneof![
        4 => Just(String::new()),
        1 => destination().prop_map(|to| format!(", mirror: {to}, mirrorPercentage: {{value: 5}}")),
        1 => destination().prop_map(|to| format!(", mirrors: [{{destination: {to}}}]")),
    ];
    (to, more, mirror).prop_map(|(to, more, mirror)| format!("{to}{more}{mirror}"))
}

fn action() -> impl Strategy<Value = String> {
    let other = one_of(&[
        "redirect: {uri: /x, authority: y.example.com, redirectCode: 307}",
        "redirect: {scheme: https, derivePort: FROM_REQUEST_PORT}",
        "redirect: {uri: /x, redirectCode: 304}",
        "directResponse: {status: 403, body: {string: no}}",
        "directResponse: {status: 200, body: {bytes: aGk=}}",
    ]);
    prop_oneof![
        4 => forward(),
        1 => other.prop_map(str::to_owned),
    ]
}

fn route(nested: bool) -> impl Strategy<Value = String> {
    let delegates = one_of(&[
        "delegate: {name: d0, namespace: ns0}",
        "delegate: {name: d1, namespace: ns1}",
        "delegate: {name: nobody}",
    ]);
    let action = prop_oneof![
        5 => action(),
        1 => delegates.prop_map(str::to_owned),
    ];
    let own = self::action();
    let action = (action, own).prop_map(move |(any, own)| if nested { own } else { any });
    (prop::collection::vec(condition(), 0..3), action, 0..3u8).prop_map(
        |(conditions, action, name)| {
            let name = if name == 0 { "" } else { "name: r, " };
            let conditions = conditions.join(", ");
            format!("{{{name}match: [{conditions}], {action}}}")
        },
    )
}

/// A `VirtualService`, now and then one without hosts, for others to delegate to.
pub(crate) fn rule() -> impl Strategy<Value = String> {
    let export = one_of(&["", "", "exportTo: ['.'], ", "exportTo: [ns0], "]);
    let root = (
        0..4u8,
        0..2u8,
        hosts(),
        export,
        prop::collection::vec(route(false), 1..5),
    )
        .prop_map(|(name, ns, hosts, export, routes)| {
            text(
                &format!("v{name}"),
                ns,
                &format!("hosts: {hosts}, {export}"),
                &routes,
            )
        });
    let part = (0..2u8, prop::collection::vec(route(true), 1..4))
        .prop_map(|(number, routes)| text(&format!("d{number}"), number, "", &routes));
    prop_oneof![4 => root, 1 => part]
}

fn text(name: &str, ns: u8, head: &str, routes: &[String]) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}, namespace: ns{ns}}}\nspec: {{{head}http: [{}]}}\n",
        routes.join(", ")
    )
}
