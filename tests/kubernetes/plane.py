"""A control plane: etcd, kube-apiserver and kube-controller-manager, with certificates of its own, in the network
that `network.open_cluster` has made. RBAC decides, admission is what a cluster has by default."""

import os
import subprocess
import time

from api import Api, Failed
from network import API_ADDRESS, NODE_ADDRESS, SERVICE_RANGE

START_S = 120
# Nothing of the cluster uses the node's life, cloud or certificates' requests; ours says itself how nodes are.
CONTROLLERS = ["*", "-node-lifecycle-controller", "-node-ipam-controller", "-certificatesigningrequest-signing-controller",
               "-certificatesigningrequest-approving-controller", "-certificatesigningrequest-cleaner-controller",
               "-cloud-node-lifecycle-controller", "-node-route-controller", "-service-lb-controller"]


def run(*command, **more):
    """A command whose output is shown only where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Authority:
    """Signs what the cluster's programs show each other."""

    def __init__(self, folder):
        os.makedirs(folder)
        self.folder = folder
        self.certificate, self.key = self.path("ca.crt"), self.path("ca.key")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=cluster", "-keyout", self.key, "-out", self.certificate)

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, subject, others=""):
        """Paths of a certificate for clients and servers, and of its key."""
        key, request, certificate = (self.path(f"{name}.{end}") for end in ("key", "csr", "crt"))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
            "-keyout", key, "-out", request)
        said = self.path(f"{name}.ext")
        with open(said, "w") as out:
            out.write("extendedKeyUsage=serverAuth,clientAuth\n")
            if others:
                out.write(f"subjectAltName={others}\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-days", "2", "-extfile", said, "-out", certificate)
        return certificate, key


class Plane:
    """Its processes end with the namespace of process numbers in which the test runs."""

    def __init__(self, programs, folder):
        self.programs, self.folder, self.processes = programs, folder, {}
        self.authority = Authority(os.path.join(folder, "certificates"))
        self.server = f"https://{API_ADDRESS}"
        self.admin = self.authority.issue("admin", "/O=system:masters/CN=admin")
        self.kubeconfig = self._kubeconfig("admin", self.admin)
        self.api = Api(self.server, self.authority.certificate, *self.admin)
        self._etcd()
        self._server()
        self._controllers()

    def kubectl(self, *words, **more):
        return run(os.path.join(self.programs, "kubectl"), "--kubeconfig", self.kubeconfig, *words, **more)

    def may(self, *words):
        """What `kubectl auth can-i` says."""
        command = [os.path.join(self.programs, "kubectl"), "--kubeconfig", self.kubeconfig, "auth", "can-i", *words]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.stdout.strip() not in ("yes", "no"):
            raise SystemExit(f"{' '.join(command)}: {said.stdout}{said.stderr}")
        return said.stdout.strip() == "yes"

    def finds(self, path):
        """The object, or None where there is none."""
        try:
            return self.api.get(path)
        except Failed as error:
            if error.status != 404:
                raise
            return None

    def _kubeconfig(self, name, pair):
        path = os.path.join(self.folder, f"{name}.kubeconfig")
        with open(path, "w") as out:
            out.write(f"""apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster: {{ server: "{self.server}", certificate-authority: "{self.authority.certificate}" }}
users:
- name: {name}
  user: {{ client-certificate: "{pair[0]}", client-key: "{pair[1]}" }}
contexts:
- name: cluster
  context: {{ cluster: cluster, user: {name} }}
current-context: cluster
""")
        os.chmod(path, 0o600)
        return path

    def _start(self, name, *command):
        with open(os.path.join(self.folder, f"{name}.log"), "w") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def _wait(self, name, is_so):
        """Until it is so, or the process has ended or does not come to it."""
        end = time.monotonic() + START_S
        while not is_so():
            is_over = self.processes[name].poll() is not None
            if is_over or time.monotonic() > end:
                with open(os.path.join(self.folder, f"{name}.log")) as log:
                    said = "".join(log.readlines()[-20:])
                raise SystemExit(f"{name} {'has ended' if is_over else 'does not become ready'}:\n{said}")
            time.sleep(0.1)

    def _etcd(self):
        # Data that ends with the test needs no disk that has it.
        self._start("etcd", "etcd", "--data-dir", os.path.join(self.folder, "etcd"), "--unsafe-no-fsync",
                    "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
                    "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn")

    def _server(self):
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        others = [f"DNS:{name}" for name in names] + [f"IP:{API_ADDRESS}", f"IP:{NODE_ADDRESS}", "IP:127.0.0.1"]
        certificate, key = self.authority.issue("server", "/CN=kube-apiserver", ",".join(others))
        caller, caller_key = self.authority.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver")
        accounts, self.signing_key = self.authority.issue("accounts", "/CN=accounts")
        authority = self.authority.certificate
        self._start(
            "kube-apiserver", os.path.join(self.programs, "kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0", "--secure-port=443", f"--advertise-address={NODE_ADDRESS}",
            f"--service-cluster-ip-range={SERVICE_RANGE}", f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}", f"--client-ca-file={authority}", "--authorization-mode=RBAC",
            f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={self.signing_key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--allow-privileged=true",
            f"--kubelet-certificate-authority={authority}", f"--kubelet-client-certificate={caller}",
            f"--kubelet-client-key={caller_key}", "--kubelet-preferred-address-types=InternalIP",
        )
        self._wait("kube-apiserver", self._is_ready)

    def _is_ready(self):
        try:
            return self.api.text("/readyz") == "ok"
        except Failed:
            return False

    def _controllers(self):
        config = self._kubeconfig(
            "controllers", self.authority.issue("controllers", "/CN=system:kube-controller-manager"))
        self._start(
            "kube-controller-manager", os.path.join(self.programs, "kube-controller-manager"),
            f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
            "--use-service-account-credentials", f"--service-account-private-key-file={self.signing_key}",
            f"--root-ca-file={self.authority.certificate}", "--leader-elect=false",
            f"--controllers={','.join(CONTROLLERS)}", "--kube-api-qps=200", "--kube-api-burst=400",
        )
        self._wait("kube-controller-manager", self._has_accounts)

    def _has_accounts(self):
        """A namespace gets its account from the controllers."""
        return self.finds("/api/v1/namespaces/default/serviceaccounts/default") is not None
