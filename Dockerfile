# One image for every engage process that docker-compose.yml starts; what it runs is the command given there.
FROM python:3.13-slim
WORKDIR /app
COPY constraints.txt pyproject.toml README.md ./
COPY src src
COPY streams streams
COPY projections projections
COPY examples/cdnow examples/cdnow
RUN pip install --no-cache-dir --constraint constraints.txt pip \
    && pip install --no-cache-dir --constraint constraints.txt --build-constraint constraints.txt . \
    && useradd --system engage && install -d -o engage /data
USER engage
ENV ENGAGE_HOME=/data PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["engage"]
CMD ["up"]
