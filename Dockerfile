# Two stages: the first has the compiler, the second only what runs. See docs/operations.md for `docker run`.
FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY kernel kernel
COPY events events
COPY engine engine
COPY ivr ivr
COPY acd acd
COPY metrics metrics
COPY web web
COPY app app
RUN python -m venv /opt/callwright && /opt/callwright/bin/pip install --no-cache-dir .

FROM python:3.12-slim-bookworm
COPY --from=build /opt/callwright /opt/callwright
RUN useradd --system --uid 10001 --home-dir /site callwright && install -d -o callwright -g callwright /site /site/var /site/recordings
WORKDIR /site
COPY config config
COPY ivr_flows ivr_flows
USER callwright
ENV PATH=/opt/callwright/bin:$PATH
VOLUME ["/site/var", "/site/recordings"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["callwright"]
CMD ["serve", "--site", "/site"]
