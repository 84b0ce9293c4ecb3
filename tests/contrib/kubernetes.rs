//! The manifests: fields that Kubernetes has, parts that fit together, and a pod that the binary can live in.

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::Value;

use crate::{
    container,
    monitoring::yaml,
    server::{BINARY, Server, file, tool},
    surroundings::say,
};

const FOLDER: &str = "contrib/kubernetes";

/// Fields of the API's types, as far as the manifests use them. `name: Type` is an object of that type, `name: [Type]` a
/// list of them; without a type it is a scalar or a map of the user's. `!` marks a required one.
const TYPES: &[(&str, &str)] = &[
    ("v1/Namespace", "apiVersion! kind! metadata!:Metadata"),
    ("v1/Service", "apiVersion! kind! metadata!:Metadata spec!:ServiceSpec"),
    ("apps/v1/StatefulSet", "apiVersion! kind! metadata!:Metadata spec!:StatefulSetSpec"),
    ("networking.k8s.io/v1/NetworkPolicy", "apiVersion! kind! metadata!:Metadata spec!:NetworkPolicySpec"),
    ("Metadata", "name namespace labels annotations"),
    ("ServiceSpec", "selector ports!:[ServicePort] type clusterIP"),
    ("ServicePort", "name port! targetPort protocol"),
    (
        "StatefulSetSpec",
        "serviceName! replicas selector!:Selector template!:PodTemplate volumeClaimTemplates:[Claim] updateStrategy",
    ),
    ("Selector", "matchLabels"),
    ("PodTemplate", "metadata:Metadata spec!:PodSpec"),
    (
        "PodSpec",
        "automountServiceAccountToken enableServiceLinks terminationGracePeriodSeconds securityContext:PodSecurity \
         containers!:[Container] volumes:[Volume] serviceAccountName nodeSelector tolerations affinity",
    ),
    ("PodSecurity", "runAsNonRoot runAsUser runAsGroup fsGroup fsGroupChangePolicy seccompProfile:Seccomp"),
    ("Seccomp", "type! localhostProfile"),
    (
        "Container",
        "name! image! args command env ports:[ContainerPort] startupProbe:Probe livenessProbe:Probe \
         readinessProbe:Probe resources:Resources securityContext:Security volumeMounts:[Mount] imagePullPolicy",
    ),
    ("ContainerPort", "name containerPort! protocol"),
    (
        "Probe",
        "httpGet!:HttpGet periodSeconds timeoutSeconds failureThreshold initialDelaySeconds successThreshold",
    ),
    ("HttpGet", "path port! scheme"),
    ("Resources", "requests limits"),
    ("Security", "allowPrivilegeEscalation readOnlyRootFilesystem capabilities:Capabilities"),
    ("Capabilities", "drop add"),
    ("Mount", "name! mountPath! readOnly subPath"),
    ("Volume", "name! configMap:ConfigMap secret:Secret emptyDir"),
    ("ConfigMap", "name! items optional defaultMode"),
    ("Secret", "secretName! items optional defaultMode"),
    ("Claim", "metadata!:Metadata spec!:ClaimSpec"),
    ("ClaimSpec", "accessModes! resources!:Resources storageClassName"),
    ("NetworkPolicySpec", "podSelector!:Selector policyTypes ingress:[Ingress]"),
    ("Ingress", "from:[Peer] ports:[PolicyPort]"),
    ("Peer", "namespaceSelector:Selector podSelector:Selector"),
    ("PolicyPort", "port protocol"),
];

fn manifests() -> Vec<Value> {
    let kustomization = yaml(&format!("{FOLDER}/kustomization.yaml"));
    let resources = kustomization["resources"].as_array().unwrap().clone();
    resources.iter().map(|name| yaml(&format!("{FOLDER}/{}", name.as_str().unwrap()))).collect()
}

fn manifest(kind: &str) -> Value {
    manifests().into_iter().find(|it| it["kind"] == kind).unwrap()
}

fn pod() -> Value {
    manifest("StatefulSet")["spec"]["template"]["spec"].clone()
}

/// Holds an object to its type.
fn check(object: &Value, type_name: &str, place: &str) {
    let (_, fields) =
        TYPES.iter().find(|(name, _)| *name == type_name).unwrap_or_else(|| panic!("{type_name}"));
    let fields: HashMap<_, _> = fields.split_whitespace().map(field).collect();
    let object = object.as_object().unwrap_or_else(|| panic!("{place} is no object"));
    for (name, value) in object {
        let place = format!("{place}.{name}");
        match fields.get(&**name) {
            None => panic!("{place}: {type_name} has no such field"),
            Some((_, None)) => {}
            Some((_, Some(inner))) => match inner.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                Some(inner) => value.as_array().unwrap().iter().for_each(|it| check(it, inner, &place)),
                None => check(value, inner, &place),
            },
        }
    }
    let missing: Vec<_> =
        fields.iter().filter(|(name, (must, _))| *must && !object.contains_key(**name)).collect();
    assert!(missing.is_empty(), "{place} lacks {missing:?}");
}

fn field(text: &'static str) -> (&'static str, (bool, Option<&'static str>)) {
    let (name, type_name) = text.split_once(':').map_or((text, None), |(name, it)| (name, Some(it)));
    (name.trim_end_matches('!'), (name.ends_with('!'), type_name))
}

#[test]
fn each_manifest_has_the_fields_of_its_kind() {
    for manifest in manifests() {
        let text = |name: &str| manifest[name].as_str().unwrap().to_owned();
        check(&manifest, &format!("{}/{}", text("apiVersion"), text("kind")), &text("kind"));
    }
}

#[test]
fn names_and_labels_fit_together() {
    let (set, pod) = (manifest("StatefulSet"), pod());
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(set["spec"]["selector"]["matchLabels"], *labels);
    let service = manifest("Service");
    assert_eq!(service["spec"]["selector"], *labels);
    assert_eq!(manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], *labels);
    assert_eq!(set["spec"]["serviceName"], service["metadata"]["name"]);

    let container = &pod["containers"][0];
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|it| it["name"].clone()).collect::<Vec<_>>();
    let claims = set["spec"]["volumeClaimTemplates"].as_array().unwrap().iter();
    let claims = claims.map(|it| it["metadata"]["name"].clone());
    let volumes: Vec<_> = claims.chain(names(&pod["volumes"])).collect();
    assert_eq!(names(&container["volumeMounts"]), volumes);
    let port = &container["ports"][0]["name"];
    let probes =
        ["startupProbe", "livenessProbe", "readinessProbe"].map(|it| &container[it]["httpGet"]["port"]);
    assert_eq!(probes, [port; 3]);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], *port);
    assert_eq!(manifest("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"], *port);
}

#[test]
fn the_pod_has_no_more_rights_than_it_needs() {
    let (pod, user) = (pod(), container::user());
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true);
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(security[field], user, "{field} is the user of the image");
    }
    assert_eq!(security["fsGroupChangePolicy"], "OnRootMismatch");
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(
        manifest("StatefulSet")["spec"]["replicas"],
        1,
        "one process may have the data directory open"
    );
}

/// A volume whose root belongs to a group that may write, as `fsGroup` makes it: the server refuses such a data
/// directory, so the settings name a folder inside.
#[test]
fn the_binary_starts_twice_on_the_settings_of_the_pod_and_answers_its_probes() {
    let pod = pod();
    let container = &pod["containers"][0];
    let volume = tempfile::tempdir().unwrap();
    let root = volume.path().join("volume");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2770)).unwrap();
    let settings = file(&format!("{FOLDER}/tenure.toml"));
    let port = &container["ports"][0]["containerPort"];
    let (listen, mounted) =
        (format!("\"0.0.0.0:{port}\""), container["volumeMounts"][0]["mountPath"].as_str().unwrap());
    assert!(settings.contains(&listen) && settings.contains(&format!("\"{mounted}/")));
    let settings = settings.replace(&listen, "\"127.0.0.1:0\"").replace(mounted, root.to_str().unwrap());
    let path = volume.path().join("tenure.toml");
    fs::write(&path, settings).unwrap();

    let configured = format!("{}/tenure.toml", container["volumeMounts"][1]["mountPath"].as_str().unwrap());
    let arguments: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
    assert!(arguments.contains(&configured), "{arguments:?}");
    let arguments: Vec<_> =
        arguments.iter().map(|it| if *it == configured { path.to_str().unwrap() } else { it }).collect();
    for _ in 0..2 {
        let server = &mut Server::start(&[BINARY], &arguments, &HashMap::new());
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            server.get(container[probe]["httpGet"]["path"].as_str().unwrap());
        }
        assert!(server.stop().success());
    }
}

#[test]
fn kustomize_takes_them() {
    let Some(kubectl) = tool("kubectl") else {
        return say("\n*** NOT RUN: kustomize on contrib/kubernetes: there is no kubectl\n");
    };
    let output = Command::new(kubectl).args(["kustomize", FOLDER]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let whole = String::from_utf8(output.stdout).unwrap();
    let kinds = whole.lines().filter(|line| line.starts_with("kind: ")).count();
    // And the config map that it generates.
    assert_eq!(kinds, manifests().len() + 1, "{whole}");
}
