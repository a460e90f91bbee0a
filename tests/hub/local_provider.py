"""An OpenID provider on this machine: whoever comes is let in as the user it is told, with a token of theirs."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT = "mask-studio"


class LocalProvider:
    """`OAUTH_...` and `OPENID_PROVIDER_URL` of a page that is to use it stand in `environment`."""

    def __init__(self, user: str, token: str) -> None:
        self.user, self.token = user, token
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})
        self.nonces: dict[str, str] = {}  # by code
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.environment = {
            "OAUTH_CLIENT_ID": CLIENT,
            "OAUTH_CLIENT_SECRET": "known to both",
            "OAUTH_SCOPES": "openid profile contribute-repos",
            "OPENID_PROVIDER_URL": self.url,
        }
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    provider: ClassVar[LocalProvider]

    def do_GET(self) -> None:
        address, provider = urlsplit(self.path), self.provider
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            facts: dict[str, Any] = {name: f"{provider.url}/{path}" for name, path in places.items()}
            self.answer(facts | {"issuer": provider.url, "id_token_signing_alg_values_supported": ["RS256"]})
        elif address.path == "/keys":
            self.answer({"keys": [provider.key.as_dict(private=False)]})
        else:
            code = f"code-{len(provider.nonces)}"
            provider.nonces[code] = asked["nonce"]
            self.send_response(302)
            separator = "&" if "?" in asked["redirect_uri"] else "?"
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_header("Location", f"{asked['redirect_uri']}{separator}{back}")
            self.end_headers()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"])).decode()
        code, now, user = parse_qs(content)["code"][0], int(time.time()), self.provider.user
        claims = {
            "iss": self.provider.url, "aud": CLIENT, "sub": f"id-of-{user}", "iat": now, "exp": now + 600,
            "nonce": self.provider.nonces.pop(code), "name": user.title(), "preferred_username": user,
            "profile": f"{self.provider.url}/{user}", "picture": "",
        }  # fmt: skip
        signed = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self.provider.key)
        self.answer({
            "access_token": self.provider.token, "token_type": "bearer", "expires_in": 600, "id_token": signed,
            "scope": "openid profile contribute-repos",
        })  # fmt: skip

    def answer(self, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Not to standard error."""
