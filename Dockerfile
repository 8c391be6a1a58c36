# One image for every engage process that docker-compose.yml starts; what it runs is the command given there.
FROM python:3.13-slim
WORKDIR /app
COPY constraints.txt pyproject.toml README.md ./
COPY src src
COPY streams streams
COPY projections projections
COPY examples/cdnow examples/cdnow
COPY scripts/compile_core.py scripts/hatch_build.py scripts/
# The compiler is for the engine alone, and goes again.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && pip install --no-cache-dir --constraint constraints.txt pip \
    && pip install --no-cache-dir --constraint constraints.txt --build-constraint constraints.txt . \
    && apt-get purge --yes --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --system engage && install -d -o engage /data
USER engage
ENV ENGAGE_HOME=/data PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["engage"]
CMD ["up"]
