"""The calls of django-daraja, in an application of Django. Its base URL is a function."""

import datetime
import pathlib
import tempfile

from calls import DARAJA_URL, call, is_checkout, is_conversation, is_token
from merchant import INITIATOR, KEY, PASSKEY, PHONE, SECRET, SHORT_CODE, url

import django
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.core.management import call_command


def write_certificate(path):
    """Writes a certificate in the place of Safaricom's, with which the client encrypts a password."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Daraja")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path.parent.mkdir()
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


directory = tempfile.TemporaryDirectory()
write_certificate(pathlib.Path(directory.name) / "certs" / "sandbox.cer")
settings.configure(
    BASE_DIR=directory.name,
    INSTALLED_APPS=["django_daraja"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
    MPESA_ENVIRONMENT="sandbox",
    MPESA_CONSUMER_KEY=KEY,
    MPESA_CONSUMER_SECRET=SECRET,
    MPESA_SHORTCODE=SHORT_CODE,
    MPESA_EXPRESS_SHORTCODE=SHORT_CODE,
    MPESA_PASSKEY=PASSKEY,
    MPESA_INITIATOR_USERNAME=INITIATOR,
    MPESA_INITIATOR_SECURITY_CREDENTIAL="password",
)
django.setup()
call_command("migrate", verbosity=0)

from django_daraja.mpesa import core, utils  # noqa: E402 (it needs the settings)

core.api_base_url = utils.api_base_url = lambda: f"{DARAJA_URL}/"
client = core.MpesaClient()

call("token", client.access_token, is_token)

call(
    "push",
    lambda: client.stk_push(PHONE, 100, "order-1", "An order", url("STK")),
    lambda response: is_checkout(response.checkout_request_id),
)

for name, pay in [
    ("b2c", client.business_payment),
    ("b2c_salary", client.salary_payment),
    ("b2c_promotion", client.promotion_payment),
]:
    call(
        name,
        # It sends this URL for queue timeouts, too.
        lambda: pay(PHONE, 100, "Refund of order-1", url("B2C_RESULT"), "Returned goods"),
        lambda response: response.response_code == "0" and is_conversation(response.conversation_id),
    )
