# Build stage: installs wheels only, so needs no compiler, into an environment without pip.
FROM python:3.12-slim AS packages

RUN ["python", "-m", "venv", "--without-pip", "/opt/venv"]
COPY requirements.txt .
RUN ["pip", "--python", "/opt/venv/bin/python", "install", "--no-cache-dir", "--disable-pip-version-check", \
     "--only-binary", ":all:", "--requirement", "requirements.txt"]


# Runtime stage. The same base, because the environment refers to its Python.
FROM python:3.12-slim

RUN ["useradd", "--uid", "10001", "--no-create-home", "--shell", "/usr/sbin/nologin", "lenta"]
# The base image has no bytecode of the standard library, and a read-only container cannot write it.
RUN ["python", "-c", "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2)"]
WORKDIR /lenta
COPY --from=packages /opt/venv /opt/venv
COPY . .
# Readable by user lenta, regardless of the umask of the checkout.
RUN ["chmod", "-R", "a+rX", "."]
RUN ["python", "-m", "compileall", "-q", "."]

# XDG_RUNTIME_DIR: where gunicorn puts its control socket. /tmp is all that must be writable.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_RUNTIME_DIR=/tmp \
    HOST=0.0.0.0 \
    PORT=8000 \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9191

USER 10001
EXPOSE 8000 9191
CMD ["gunicorn", "wsgi:app"]
